"""Muon: descent along the orthogonal part of each weight matrix's momentum (Jordan et al., 2024), which learns more from a step than Adam.

torch's own takes matrices alone; most of the starter's weights are convolutions, which are matrices of their output channels here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

# The quintic of Jordan et al.; five turns bring every singular value between about 0.7 and 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)
TURNS = 5
LIKE_ADAM = 0.2  # makes an update's root mean square Adam's usual one, so that rates mean the same (Liu et al., 2025)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return about U V' of a matrix U S V', by Newton-Schulz iteration in bfloat16."""
    a, b, c = QUINTIC
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    x = x.T if tall else x
    for _ in range(TURNS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; the first one counts the rows, the others together the columns."""

    def __init__(self, weights: Iterable[torch.Tensor], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            keep = group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                pace = state["momentum"]
                pace.lerp_(weight.grad, 1.0 - keep)
                ahead = weight.grad.lerp(pace, keep).flatten(1)
                update = orthogonal(ahead) * (LIKE_ADAM * max(ahead.shape) ** 0.5)
                weight.mul_(1.0 - group["lr"] * group["weight_decay"]).add_(update.view_as(weight), alpha=-group["lr"])


def optimizers(module: torch.nn.Module, lr: float, muon: bool) -> list[torch.optim.Optimizer]:
    """Return AdamW for all that `module` trains; with `muon` for biases, norms and tables of embeddings alone, and Muon for the rest."""
    tables = {id(m.weight) for m in module.modules() if isinstance(m, torch.nn.Embedding)}
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if muon and p.ndim > 1 and id(p) not in tables]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in chosen]
    made: list[torch.optim.Optimizer] = [Muon(matrices, lr=lr)] if matrices else []
    return [*made, torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)] if rest else made
