"""How is a picture of any size sent through a network that has room for a small one? In tiles that overlap and are blended linearly.

Pure arrays: it knows neither torch nor files. Beside the result only one row of tiles is kept in full precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modules.upscalers.resize import Pixels

FloatPixels = npt.NDArray[np.float32]
"""(height, width, 3), from 0 to 1."""

Network = Callable[[FloatPixels], FloatPixels]
"""A picture in, the same picture with both sides a whole number of times as long out."""

OnTile = Callable[[], None]
"""Called before each tile; may raise to stop."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where one tile lies on an axis, in pixels of the picture before, and how much each pixel of it counts in the one after."""

    start: int
    size: int
    weights: npt.NDArray[np.float32]
    """(size * scale,); those of all spans over a pixel sum up to 1."""


def tile_count(width: int, height: int, tile: int, overlap: int) -> int:
    """How many tiles `enlarged_in_tiles` will cut."""
    return len(_starts(width, tile, overlap)[0]) * len(_starts(height, tile, overlap)[0])


def enlarged_in_tiles(pixels: Pixels, network: Network, scale: int, *, tile: int, overlap: int, on_tile: OnTile) -> Pixels:
    """The picture `scale` times as large, from tiles of at most `tile` pixels a side (0: all of it) that overlap by `overlap` or more.

    An overlap of more than half a tile counts as half. Its outer quarters, where a tile lacks its surroundings most, are left out: over
    the rest one tile fades into the next. Raises what `network` and `on_tile` raise.
    """
    height, width = pixels.shape[:2]
    rows, columns = spans(height, scale, tile, overlap), spans(width, scale, tile, overlap)
    result = np.empty((height * scale, width * scale, 3), np.uint8)
    # the sums of the rows of pixels from the present tiles' first on
    sums = np.zeros((rows[0].size * scale, width * scale, 3), np.float32)
    for number, row in enumerate(rows):
        for column in columns:
            on_tile()
            cut = pixels[row.start : row.start + row.size, column.start : column.start + column.size]
            made = network(np.divide(cut, 255, dtype=np.float32))
            sums[:, _scaled(column, scale)] += made * row.weights[:, None, None] * column.weights[None, :, None]
        following = rows[number + 1].start if number + 1 < len(rows) else height
        done = (following - row.start) * scale
        ready = sums[:done]
        np.clip(ready, 0, 1, out=ready)
        np.multiply(ready, 255, out=ready)
        result[row.start * scale : following * scale] = np.rint(ready, out=ready)
        # what the tiles below add to moves up
        sums[: len(sums) - done] = sums[done:].copy()
        sums[len(sums) - done :] = 0
    return result


def spans(length: int, scale: int, tile: int, overlap: int) -> list[Span]:
    """The tiles along an axis of `length` pixels, equally long and in order."""
    starts, size = _starts(length, tile, overlap)
    found: list[Span] = []
    raw = np.ones((len(starts), size * scale), np.float32)
    for number in range(1, len(starts)):
        shared = (starts[number - 1] + size - starts[number]) * scale
        rising = _ramp(shared)
        raw[number, :shared] *= rising
        raw[number - 1, len(raw[0]) - shared :] *= 1 - rising
    total = np.zeros(length * scale, np.float32)
    for start, weights in zip(starts, raw, strict=True):
        total[start * scale : (start + size) * scale] += weights
    for start, weights in zip(starts, raw, strict=True):
        found.append(Span(start, size, weights / total[start * scale : (start + size) * scale]))
    return found


def _starts(length: int, tile: int, overlap: int) -> tuple[list[int], int]:
    """(where tiles begin, their common size). As few as possible, none larger than `tile`, spread evenly."""
    if tile <= 0 or length <= tile:
        return [0], length
    overlap = min(overlap, tile // 2)
    count = math.ceil((length - overlap) / (tile - overlap))
    size = math.ceil((length + (count - 1) * overlap) / count)
    return [round(number * (length - size) / (count - 1)) for number in range(count)], size


def _ramp(length: int) -> npt.NDArray[np.float32]:
    """`length` numbers from 0 to 1: flat over the first and the last quarter, a straight line between."""
    margin = length // 4
    inner = length - 2 * margin
    line = (np.arange(length, dtype=np.float32) - margin + 0.5) / max(1, inner)
    return line.clip(0, 1)


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.start * scale, (span.start + span.size) * scale)
