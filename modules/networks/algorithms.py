"""How do a file's small tensors become the change of a weight? One pure function for each algorithm of the LoRA family.

All of them compute in float32. `weight` is the original, (out, in) or (out, in, height, width); the result has its shape. Matrices are
called as the papers and their files call them: a change of rank r is up (out, r) times down (r, in), whatever the layer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Parts = Mapping[str, Tensor]
"""A module's tensors in float32 by their canonical names (`lora_up`, `hada_w1_a`, `diff` …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """`needs` must all be there, `takes` may be. `change` gives the weight's unscaled change; its last argument keeps only that many of
    the ranks, where the algorithm has ranks to choose from (`dims`). `rank` divides alpha; None: alpha is not a scale here."""

    title: str
    needs: frozenset[str]
    change: Callable[[Parts, Tensor, float | None, int | None], Tensor]
    rank: Callable[[Parts], int | None]
    takes: frozenset[str] = frozenset()
    dims: bool = False


def delta(algorithm: Algorithm, parts: Parts, alpha: float | None, weight: Tensor, dim: int | None = None) -> Tensor:
    """The change of `weight` at strength 1: scaled by alpha / rank, and with the columns' lengths of DoRA where there are any."""
    change = algorithm.change(parts, weight, alpha, dim)
    rank = algorithm.rank(parts)
    if alpha is not None and rank:
        change = change * (alpha / rank)
    return decomposed(change, weight, parts["dora_scale"]) if "dora_scale" in parts else change


def lora(up: Tensor, down: Tensor, shape: tuple[int, ...], mid: Tensor | None = None, dim: int | None = None) -> Tensor:
    """up @ down (LoRA, Hu et al. 2021, arXiv:2106.09685). A convolution's kernel lies in `down` (LoCon), or in `mid` (r, r, height,
    width) between two 1x1 ones: the Tucker form (LyCORIS, Yeh et al. 2023, arXiv:2309.14859)."""
    up, down = up.flatten(1)[:, :dim], down.flatten(1)[:dim]
    if mid is None:
        return (up @ down).reshape(shape)
    return torch.einsum("on,nmhw,mi->oihw", up, mid[:dim, :dim], down)


def loha(parts: Parts, shape: tuple[int, ...]) -> Tensor:
    """(w1_a @ w1_b) * (w2_a @ w2_b), elementwise (FedPara, Hyeon-Woo et al. 2021, arXiv:2108.06098)."""
    first = _product(parts["hada_w1_a"], parts["hada_w1_b"], parts.get("hada_t1"))
    second = _product(parts["hada_w2_a"], parts["hada_w2_b"], parts.get("hada_t2"))
    return (first * second).reshape(shape)


def lokr(parts: Parts, shape: tuple[int, ...]) -> Tensor:
    """The Kronecker product of w1 and w2, either of which may be a product itself (LoKr: KronA, Edalati et al. 2022, arXiv:2212.10650)."""
    first, second = (_factor(parts, name) for name in ("lokr_w1", "lokr_w2"))
    # a kernel's sides belong to the columns of the second factor: its columns are (in, height, width)
    return torch.kron(first.flatten(1), second.flatten(1)).reshape(shape)


def oft(blocks: Tensor, weight: Tensor, constraint: float | None = None, rescale: Tensor | None = None) -> Tensor:
    """R W - W with a block-diagonal rotation R of the output channels (OFT, Qiu et al. 2023, arXiv:2306.07280), or with a product of
    several, where `blocks` has one dimension more (BOFT).

    R = (I + Q)(I - Q)^-1 is Cayley's map of the skew-symmetric Q = blocks - blocks^T. A `constraint` above 0 bounds Q's norm by itself
    times the output channels, as kohya's and LyCORIS' trainers do. `rescale` then multiplies each output channel.
    """
    q = blocks - blocks.transpose(-1, -2)
    if constraint:
        norm = q.norm()
        q = q * ((norm.clamp(max=constraint * weight.shape[0]) + 1e-8) / (norm + 1e-8))
    eye = torch.eye(q.shape[-1], device=q.device)
    rotation = (eye + q) @ torch.linalg.inv(eye - q)
    return (butterfly if blocks.dim() == 4 else rotated)(rotation, weight, rescale) - weight


def rotated(rotation: Tensor, weight: Tensor, rescale: Tensor | None = None) -> Tensor:
    """`weight` with its output channels, in blocks, under `rotation` (blocks, n, n), as the trainers do: transposed."""
    count, size = rotation.shape[:2]
    turned = torch.einsum("knm,kni->kmi", rotation, weight.reshape(count, size, -1)).reshape(weight.shape)
    return _rescaled(turned, rescale)


def butterfly(rotations: Tensor, weight: Tensor, rescale: Tensor | None = None) -> Tensor:
    """`weight` under one stage of `rotations` (stages, blocks, n, n) after the other (BOFT, Liu et al. 2023, arXiv:2311.06243).

    A stage's blocks are made of pairs of output channels, 2^stage n/2 apart. LyCORIS' trainer does not transpose them as it does OFT's.
    """
    size = rotations.shape[-1]
    turned = weight.flatten(1) if weight.dim() > 1 else weight[:, None]
    width = turned.shape[1]
    for stage, rotation in enumerate(rotations):
        apart = (size // 2) << stage
        pairs = turned.reshape(-1, 2, apart, width).transpose(1, 2)
        mixed = rotation @ pairs.reshape(-1, size, width)
        turned = mixed.reshape(-1, apart, 2, width).transpose(1, 2).reshape(-1, width)
    return _rescaled(turned.reshape(weight.shape), rescale)


def decomposed(change: Tensor, weight: Tensor, magnitude: Tensor) -> Tensor:
    """The change that gives weight + change the column lengths `magnitude` (DoRA, Liu et al. 2024, arXiv:2402.09353).

    The length is an output channel's, (out, 1, …) or (out,), or an input channel's, (1, in, …): both are in use.
    """
    merged = weight + change
    per_output = magnitude.numel() == weight.shape[0] and magnitude.shape[0] == weight.shape[0]
    kept = 0 if per_output else 1
    shape = [-1 if axis == kept else 1 for axis in range(weight.dim())]
    lengths = merged.transpose(0, kept).flatten(1).norm(dim=1).reshape(shape)
    return merged * (magnitude.reshape(shape) / (lengths + torch.finfo(lengths.dtype).eps)) - weight


def _rescaled(weight: Tensor, rescale: Tensor | None) -> Tensor:
    return weight if rescale is None else weight * rescale.reshape(-1, *[1] * (weight.dim() - 1))


def _product(first: Tensor, second: Tensor, core: Tensor | None) -> Tensor:
    """a @ b, or around a Tucker core (r, r, height, width): a (r, out), b (r, in) -> (out, in, height, width)."""
    if core is None:
        return first.flatten(1) @ second.flatten(1)
    return torch.einsum("nmhw,no,mi->oihw", core, first, second)


def _factor(parts: Parts, name: str) -> Tensor:
    whole = parts.get(name)
    return whole if whole is not None else _product(parts[f"{name}_a"], parts[f"{name}_b"], parts.get(f"{name[:-2]}t{name[-1]}"))


def _lora(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
    return lora(parts["lora_up"], parts["lora_down"], tuple(weight.shape), parts.get("lora_mid"), dim)


def _loha(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
    return loha(parts, tuple(weight.shape))


def _lokr(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
    return lokr(parts, tuple(weight.shape))


def _lokr_rank(parts: Parts) -> int | None:
    """None where both factors are whole: there is no rank, and the trainers do not scale then."""
    inner = parts.get("lokr_w2_b", parts.get("lokr_w1_b"))
    return None if inner is None else inner.shape[0]


def _oft(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
    return oft(parts["oft_blocks"], weight, alpha, parts.get("rescale"))


def _rotation(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
    return rotated(parts["oft_diag"], weight, parts.get("rescale")) - weight


def _whole(name: str) -> Callable[[Parts, Tensor, float | None, int | None], Tensor]:
    def change(parts: Parts, weight: Tensor, alpha: float | None, dim: int | None) -> Tensor:
        return parts[name].reshape(weight.shape)

    return change


def _no_rank(parts: Parts) -> int | None:
    return None


_DORA = frozenset({"dora_scale"})

ALGORITHMS = (
    Algorithm(
        title="LoRA",
        needs=frozenset({"lora_up", "lora_down"}),
        takes=frozenset({"lora_mid"}) | _DORA,
        change=_lora,
        rank=lambda parts: parts["lora_down"].shape[0],
        dims=True,
    ),
    Algorithm(
        title="LoHa",
        needs=frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
        takes=frozenset({"hada_t1", "hada_t2"}) | _DORA,
        change=_loha,
        rank=lambda parts: parts["hada_w1_b"].shape[0],
    ),
    *(
        Algorithm(title="LoKr", needs=frozenset(first + second), takes=frozenset({"lokr_t2"}) | _DORA, change=_lokr, rank=_lokr_rank)
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    Algorithm(
        title="OFT, BOFT", needs=frozenset({"oft_blocks"}), takes=frozenset({"rescale"}), change=_oft, rank=_no_rank
    ),
    Algorithm(
        title="OFT (rotations)", needs=frozenset({"oft_diag"}), takes=frozenset({"rescale"}), change=_rotation, rank=_no_rank
    ),
    Algorithm(title="full difference", needs=frozenset({"diff"}), takes=_DORA, change=_whole("diff"), rank=_no_rank),
    Algorithm(title="norm difference", needs=frozenset({"w_norm"}), change=_whole("w_norm"), rank=_no_rank),
)  # fmt: skip
"""Tried in this order; a module's parts belong to the first algorithm that needs them and takes all the others."""


def algorithm_for(names: frozenset[str]) -> Algorithm | None:
    """The algorithm whose parts these are, None for a combination that none knows."""
    return next((each for each in ALGORITHMS if each.needs <= names <= each.needs | each.takes), None)
