"""What does one Brownian path do between two times? A virtual Brownian tree: nothing is stored, every question has one answer.

The path depends on the seed and the interval alone, not on which questions were asked before (Li et al. 2020, arXiv:2001.01328). Seeds are
derived as the torchsde library derives them, since the pictures of SDE samplers depend on it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from torch import Tensor

_DIGITS = 6
"""Times are rounded to this many decimals, which ends the tree."""

_POOL = 24
_REMEMBERED = 32
"""Nodes of the tree that are kept: the questions of a sampler follow each other closely."""


class BrownianPath:
    """The path of `seed` over [start, end]. `randn(seed)` draws unit noise of the path's shape."""

    def __init__(self, start: float, end: float, seed: int, randn: Callable[[int], Tensor]) -> None:
        self._seed = seed
        self._randn = randn
        self._start, self._end = round(start, _DIGITS), round(end, _DIGITS)
        (top,) = np.random.SeedSequence(seed, pool_size=_POOL).generate_state(1)
        self._whole = randn(int(top)) * math.sqrt(end - start)
        self._nodes: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def increment(self, start: float, end: float) -> Tensor:
        """W(end) - W(start) for start < end; times outside of the path's are moved to its ends."""
        low, high = (min(max(round(time, _DIGITS), self._start), self._end) for time in (start, end))
        if low == high:
            return self._whole * 0
        return self._within(low, high, self._start, self._end, self._whole, (0, 0))

    def _within(self, low: float, high: float, start: float, end: float, whole: Tensor, node: tuple[int, int]) -> Tensor:
        """The increment over [low, high] inside the node over [start, end] whose own increment is `whole`."""
        if (low, high) == (start, end):
            return whole
        middle = round((start + end) / 2, _DIGITS)
        left = self._left(start, middle, end, whole, node)
        index, depth = node
        if high <= middle:
            return self._within(low, high, start, middle, left, (2 * index, depth + 1))
        if low >= middle:
            return self._within(low, high, middle, end, whole - left, (2 * index + 1, depth + 1))
        first = self._within(low, middle, start, middle, left, (2 * index, depth + 1))
        return first + self._within(middle, high, middle, end, whole - left, (2 * index + 1, depth + 1))

    def _left(self, start: float, middle: float, end: float, whole: Tensor, node: tuple[int, int]) -> Tensor:
        """The increment over a node's left half: a Brownian bridge."""
        known = self._nodes.get(node)
        if known is not None:
            self._nodes.move_to_end(node)
            return known
        (seed,) = np.random.SeedSequence(self._seed, spawn_key=node, pool_size=_POOL).generate_state(1)
        part = (middle - start) / (end - start)
        left = whole * part + self._randn(int(seed)) * math.sqrt(part * (end - middle))
        self._nodes[node] = left
        if len(self._nodes) > _REMEMBERED:
            self._nodes.popitem(last=False)
        return left
