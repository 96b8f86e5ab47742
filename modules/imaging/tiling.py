"""How is a picture cut into tiles that overlap, and put together again so that no seam is seen?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Box = tuple[int, int, int, int]
Floats = npt.NDArray[np.float32]


def tile_boxes(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> list[Box]:
    """(left, top, right, bottom) of the tiles of a picture of `size`, row by row: as few as there can be, evenly spread, each `tile` large
    (or as large as the picture) and at least `overlap` pixels over its neighbours. `overlap` must be less than a tile's sides."""
    across = _starts(size[0], min(tile[0], size[0]), overlap)
    down = _starts(size[1], min(tile[1], size[1]), overlap)
    wide, high = min(tile[0], size[0]), min(tile[1], size[1])
    return [(x, y, x + wide, y + high) for y in down for x in across]


def joined(tiles: Sequence[Image.Image], boxes: Sequence[Box], size: tuple[int, int]) -> Image.Image:
    """The RGB picture of `size` in which each of the `tiles` lies in its box; where several lie, they fade into each other."""
    total = np.zeros((size[1], size[0], 3), np.float32)
    weights = np.zeros((size[1], size[0], 1), np.float32)
    for picture, (left, top, right, bottom) in zip(tiles, boxes, strict=True):
        fitting = picture.convert("RGB").resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        weight = _weight((left, top, right, bottom), size, boxes)
        total[top:bottom, left:right] += np.asarray(fitting, np.float32) * weight
        weights[top:bottom, left:right] += weight
    return Image.fromarray((total / weights).round().clip(0, 255).astype(np.uint8))


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def _weight(box: Box, size: tuple[int, int], boxes: Sequence[Box]) -> Floats:
    """(height, width, 1): 1 inside, falling to nothing over what the tile shares with its neighbours."""
    across = _ramp(box[0], box[2], {(other[0], other[2]) for other in boxes})
    down = _ramp(box[1], box[3], {(other[1], other[3]) for other in boxes})
    return (down[:, None] * across[None, :])[..., None]


def _ramp(start: int, end: int, others: set[tuple[int, int]]) -> Floats:
    """Weights of the pixels from `start` to `end` along one axis: where another tile reaches in, they rise from its edge to ours."""
    weight = np.ones(end - start, np.float32)
    before = max((stop - start for first, stop in others if first < start < stop), default=0)
    after = max((end - first for first, _ in others if start < first < end), default=0)
    rise = (np.arange(end - start, dtype=np.float32) + 0.5) / max(1, before)
    fall = (np.arange(end - start, dtype=np.float32)[::-1] + 0.5) / max(1, after)
    weight = np.minimum(weight, rise) if before else weight
    return np.minimum(weight, fall) if after else weight
