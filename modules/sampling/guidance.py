"""How do a prompt's parts and its negative become one prediction? Classifier-free guidance as a denoiser that wraps a network.

It treats a conditioning as an opaque value: the network's owner says which may share a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from modules.sampling.types import SplitDenoiser

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class ImageConditioning(Generic[C]):
    """What one image of the batch is drawn from: the AND-joined parts of its prompt with their weights, and its negative prompt."""

    parts: tuple[tuple[C, float], ...]
    negative: C


Predict = Callable[[Tensor, float, Sequence[C]], Tensor]
"""`(x (n, C, H, W), sigma, n conditionings) -> x0 (n, C, H, W)`: row i of x is predicted under conditioning i."""


class Guidance(Generic[C]):
    """A `SplitDenoiser`: x0 = negative + scale * sum of weight * (part - negative) (Ho & Salimans 2022; composition: Liu et al. 2022).

    `at_call(n)` gives the conditioning of every image for the n-th network evaluation (from 0): prompt timelines count evaluations, so a
    sampler with two a step has timelines of twice the length. Rows whose `key(conditioning)` is equal share one call when `batched`.
    The negative is not evaluated where it cancels out (scale 1, weights that sum to 1), unless `always_negative`; nor where
    `skips_negative(n, sigma)` says so: the first part of the prompt takes its place then, as in A1111.
    """

    def __init__(
        self,
        predict: Predict[C],
        at_call: Callable[[int], Sequence[ImageConditioning[C]]],
        scale: float,
        *,
        key: Callable[[C], Hashable],
        batched: bool = True,
        always_negative: bool = False,
        skips_negative: Callable[[int, float], bool] = lambda call, sigma: False,
    ) -> None:
        self._predict = predict
        self._at_call = at_call
        self._scale = scale
        self._key = key
        self._batched = batched
        self._always_negative = always_negative
        self._skips_negative = skips_negative
        self._calls = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """(B, C, H, W) -> guided x0 of the same shape."""
        call, images = self._calls, self._next(x)
        if not self._always_negative and all(self._cancels(image) for image in images):
            return self._combine(x, self._parts(x, sigma, images), images, None)
        if not self._always_negative and self._skips_negative(call, sigma):
            parts = self._parts(x, sigma, images)
            return self._combine(x, parts, images, parts[_first_parts(images)])
        return self._both(x, sigma, images)[0]

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """(guided x0, the negative prompt's x0), each (B, C, H, W)."""
        return self._both(x, sigma, self._next(x))

    def _next(self, x: Tensor) -> Sequence[ImageConditioning[C]]:
        images = self._at_call(self._calls)
        self._calls += 1
        if len(images) != x.shape[0]:
            raise ValueError(f"{len(images)} conditionings for a batch of {x.shape[0]}")
        return images

    def _cancels(self, image: ImageConditioning[C]) -> bool:
        return abs(1.0 - self._scale * sum(weight for _, weight in image.parts)) < 1e-9

    def _both(self, x: Tensor, sigma: float, images: Sequence[ImageConditioning[C]]) -> tuple[Tensor, Tensor]:
        negatives = [image.negative for image in images]
        if self._batched:
            rows, conds = _part_rows(images)
            out = self._rows(torch.cat((x[rows] if len(rows) != len(images) else x, x)), sigma, [*conds, *negatives])
            parts, negative = out[: len(rows)], out[len(rows) :]
        else:
            parts, negative = self._parts(x, sigma, images), self._rows(x, sigma, negatives)
        return self._combine(x, parts, images, negative), negative

    def _parts(self, x: Tensor, sigma: float, images: Sequence[ImageConditioning[C]]) -> Tensor:
        rows, conds = _part_rows(images)
        return self._rows(x[rows] if len(rows) != len(images) else x, sigma, conds)

    def _rows(self, x: Tensor, sigma: float, conds: Sequence[C]) -> Tensor:
        """One network call for each group of rows that can share one."""
        groups: dict[Hashable, list[int]] = {}
        for row, cond in enumerate(conds):
            groups.setdefault(self._key(cond), []).append(row)
        if len(groups) == 1:
            return self._predict(x, sigma, conds)
        out = torch.empty_like(x)
        for rows in groups.values():
            out[rows] = self._predict(x[rows], sigma, [conds[row] for row in rows])
        return out

    def _combine(self, x: Tensor, parts: Tensor, images: Sequence[ImageConditioning[C]], negative: Tensor | None) -> Tensor:
        if len(parts) == len(images) and all(image.parts[0][1] == 1.0 for image in images):
            return parts if negative is None else negative + (parts - negative) * self._scale
        out = torch.zeros_like(x) if negative is None else negative.clone()
        row = 0
        for index, image in enumerate(images):
            for _, weight in image.parts:
                difference = parts[row] if negative is None else parts[row] - negative[index]
                out[index] += difference * (weight * self._scale)
                row += 1
        return out


class Relay:
    """A `SplitDenoiser` of two, one after the other: `first`, and from the first call on at which `is_late(sigma)`, another.

    That one is what `second(n)` gives, asked for once, after n calls of the first.
    """

    def __init__(self, first: SplitDenoiser, is_late: Callable[[float], bool], second: Callable[[int], SplitDenoiser]) -> None:
        self._now = first
        self._is_late = is_late
        self._second: Callable[[int], SplitDenoiser] | None = second
        self._calls = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self._at(sigma)(x, sigma)

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return self._at(sigma).split(x, sigma)

    def _at(self, sigma: float) -> SplitDenoiser:
        if self._second is not None and self._is_late(sigma):
            self._now, self._second = self._second(self._calls), None
        self._calls += 1
        return self._now


def _first_parts(images: Sequence[ImageConditioning[C]]) -> list[int]:
    """The row of each image's first part."""
    counts = [len(image.parts) for image in images]
    return [sum(counts[:index]) for index in range(len(counts))]


def _part_rows(images: Sequence[ImageConditioning[C]]) -> tuple[list[int], list[C]]:
    """For every part of every prompt: which image it belongs to, and its conditioning."""
    rows = [index for index, image in enumerate(images) for _ in image.parts]
    return rows, [cond for image in images for cond, _ in image.parts]
