"""How does an NVIDIA card draw normal numbers? Philox4x32-10 with Box-Muller, bit by bit, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
# As cuRAND rounds them to float32; the rest is worked out in float64.
_TWO_POW_32_INV = np.float64(np.float32(2.3283064e-10))
_TWO_POW_32_INV_2PI = np.float64(np.float32(2.3283064e-10 * 6.2831855))
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)


class PhiloxGenerator:
    """The stream that `torch.randn` gives on a CUDA device for one seed, for tensors of up to some hundred thousand elements.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; cuRAND's uniform and Box-Muller maps.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed & 0xFFFFFFFFFFFFFFFF
        self._offset = 0

    def randn(self, count: int) -> NDArray[np.float32]:
        """The next `count` unit normal numbers."""
        counter = np.zeros((4, count), dtype=np.uint32)
        counter[0] = self._offset
        counter[2] = np.arange(count, dtype=np.uint32)
        self._offset += 1
        first, second, _, _ = _philox(counter, self._seed)
        return _box_muller(first, second)


def _philox(counter: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Ten rounds over a (4, n) counter."""
    c0, c1, c2, c3 = counter
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        product0, product1 = c0.astype(np.uint64) * _MULTIPLIERS[0], c2.astype(np.uint64) * _MULTIPLIERS[1]
        high0, low0 = (product0 >> _HIGH).astype(np.uint32), (product0 & _LOW).astype(np.uint32)
        high1, low1 = (product1 >> _HIGH).astype(np.uint32), (product1 & _LOW).astype(np.uint32)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint32(key[0]), low1, high0 ^ c3 ^ np.uint32(key[1]), low0
        key = [(key[0] + int(_WEYL[0])) & 0xFFFFFFFF, (key[1] + int(_WEYL[1])) & 0xFFFFFFFF]
    return np.stack((c0, c1, c2, c3))


def _box_muller(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.float32]:
    u = x * _TWO_POW_32_INV + _TWO_POW_32_INV / 2
    v = y * _TWO_POW_32_INV_2PI + _TWO_POW_32_INV_2PI / 2
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32)
