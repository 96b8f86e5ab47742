"""Guidance: the formula, which rows share a call, and which are not evaluated at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from modules.sampling.guidance import Guidance, ImageConditioning

Cond = tuple[float, int]
"""What a conditioning predicts, and its length."""


class Network:
    """Predicts a constant for each conditioning, plus a little of x."""

    def __init__(self) -> None:
        self.calls: list[list[Cond]] = []

    def __call__(self, x: Tensor, sigma: float, conds: Sequence[Cond]) -> Tensor:
        assert len(x) == len(conds)
        assert len({length for _, length in conds}) == 1
        self.calls.append(list(conds))
        return torch.tensor([value for value, _ in conds]).reshape(-1, 1, 1, 1) + 0.1 * x


def guidance(network: Network, images: Sequence[ImageConditioning[Cond]], scale: float, **options: bool) -> Guidance[Cond]:
    return Guidance(network, lambda n: images, scale, key=lambda cond: cond[1], **options)


X = torch.arange(8.0).reshape(2, 1, 2, 2)
PLAIN = [ImageConditioning((((3.0, 1), 1.0),), (1.0, 1)), ImageConditioning((((5.0, 1), 1.0),), (2.0, 1))]


@pytest.mark.parametrize("batched", [True, False])
def test_formula(batched: bool) -> None:
    network = Network()
    out = guidance(network, PLAIN, 7.0, batched=batched)(X, 1.0)
    assert torch.allclose(out - 0.1 * X, torch.tensor([1 + 7 * 2.0, 2 + 7 * 3.0]).reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)
    assert [len(call) for call in network.calls] == ([4] if batched else [2, 2])


def test_scale_one_needs_no_negative() -> None:
    network = Network()
    out = guidance(network, PLAIN, 1.0)(X, 1.0)
    assert [len(call) for call in network.calls] == [2]
    assert torch.allclose(out - 0.1 * X, torch.tensor([3.0, 5.0]).reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)
    guidance(network, PLAIN, 1.0, always_negative=True)(X, 1.0)
    assert len(network.calls[-1]) == 4


def test_weighted_parts() -> None:
    images = [ImageConditioning((((3.0, 1), 0.7), ((9.0, 1), -0.3)), (1.0, 1)), PLAIN[1]]
    out = guidance(Network(), images, 2.0)(X, 1.0)
    expected = torch.tensor([1 + 2 * (0.7 * 2 - 0.3 * 8), 2 + 2 * 3.0])
    # The network's share of x cancels in the differences.
    assert torch.allclose(out - 0.1 * X, expected.reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)


def test_weights_that_cancel_the_negative() -> None:
    network = Network()
    images = [ImageConditioning((((3.0, 1), 0.25), ((9.0, 1), 0.25)), (1.0, 1))]
    out = guidance(network, images, 2.0)(X[:1], 1.0)
    assert len(network.calls[0]) == 2
    assert torch.allclose(out - 0.1 * X[:1], torch.full_like(X[:1], 0.5 * 3 + 0.5 * 9), atol=1e-5)


def test_rows_of_other_lengths_get_their_own_call() -> None:
    network = Network()
    images = [ImageConditioning((((3.0, 1), 1.0),), (1.0, 2)), ImageConditioning((((5.0, 2), 1.0),), (2.0, 2))]
    out = guidance(network, images, 2.0)(X, 1.0)
    assert sorted(len(call) for call in network.calls) == [1, 3]
    assert torch.allclose(out - 0.1 * X, torch.tensor([1 + 2 * 2.0, 2 + 2 * 3.0]).reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)


def test_timelines_count_network_calls() -> None:
    asked: list[int] = []

    def at_call(n: int) -> Sequence[ImageConditioning[Cond]]:
        asked.append(n)
        return PLAIN

    denoise = Guidance(Network(), at_call, 7.0, key=lambda cond: cond[1])
    denoise(X, 2.0)
    denoise.split(X, 1.0)
    denoise(X, 0.5)
    assert asked == [0, 1, 2]


def test_split_gives_both_halves() -> None:
    guided, negative = guidance(Network(), PLAIN, 3.0).split(X, 1.0)
    assert torch.allclose(negative - 0.1 * X, torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)
    assert torch.allclose(guided - 0.1 * X, torch.tensor([1 + 3 * 2.0, 2 + 3 * 3.0]).reshape(2, 1, 1, 1).expand_as(X), atol=1e-5)
