"""What does a picture look like that grew on its sides, before anything is drawn there? Its edges go on, blurred and uneven.

An ordinary checkpoint continues what it sees: plain grey would stay grey.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

FEATHER = 24
"""How many pixels within the picture the mask reaches, fading, along each side that grew."""

_BLUR = 12
_NOISE_BLUR = 2
_NOISE = 32.0
"""How far the noise moves colours, in their standard deviation."""

_FAR = 96.0
"""How many pixels outside the noise has its full strength."""


class Sides(NamedTuple):
    """Pixels on each side."""

    left: int
    right: int
    top: int
    bottom: int


def grown_size(size: tuple[int, int], sides: Sides, multiple: int) -> tuple[tuple[int, int], Sides]:
    """(the new size, whose sides are multiples of `multiple`; by how much each side grows for it).

    What is missing to a multiple goes to the side that grows most, and to the right or the bottom where none does.
    """
    more_x, more_y = -(size[0] + sides.left + sides.right) % multiple, -(size[1] + sides.top + sides.bottom) % multiple
    to_left, to_top = sides.left > sides.right, sides.top > sides.bottom
    all_sides = Sides(
        sides.left + (more_x if to_left else 0),
        sides.right + (0 if to_left else more_x),
        sides.top + (more_y if to_top else 0),
        sides.bottom + (0 if to_top else more_y),
    )
    return (size[0] + all_sides.left + all_sides.right, size[1] + all_sides.top + all_sides.bottom), all_sides


def grown(picture: Image.Image, sides: Sides) -> Image.Image:
    """The RGB picture with `sides` more pixels around it; itself is unchanged in the middle."""
    pixels = np.asarray(picture, dtype=np.float32)
    wide = np.pad(pixels, ((sides.top, sides.bottom), (sides.left, sides.right), (0, 0)), mode="edge")
    smooth = np.asarray(Image.fromarray(wide.astype(np.uint8)).filter(ImageFilter.GaussianBlur(_BLUR)), dtype=np.float32)
    strength = (_distance(picture.size, sides) / _FAR).clip(0, 1)[..., None]
    made = (smooth + _noise(wide.shape[:2]) * strength).round().clip(0, 255).astype(np.uint8)
    made[sides.top : sides.top + picture.height, sides.left : sides.left + picture.width] = np.asarray(picture)
    return Image.fromarray(made)


def grown_mask(size: tuple[int, int], sides: Sides) -> Image.Image:
    """The mask of what was added to a picture of `size`: white outside, fading over at most `FEATHER` pixels within it."""
    x = _ramp(size[0], sides.left, sides.right)
    y = _ramp(size[1], sides.top, sides.bottom)
    return Image.fromarray((np.maximum(x[None, :], y[:, None]) * 255).round().astype(np.uint8))


def _ramp(length: int, before: int, after: int) -> npt.NDArray[np.float32]:
    """Along one axis: 1 outside, falling to 0 within the picture on the sides that grew."""
    feather = max(1, min(FEATHER, length // 4))
    inside = np.arange(length, dtype=np.float32)
    at_start = (1 - (inside + 1) / feather).clip(0, 1) if before else np.zeros(length, np.float32)
    at_end = (1 - (length - inside) / feather).clip(0, 1) if after else np.zeros(length, np.float32)
    return np.concatenate((np.ones(before, np.float32), np.maximum(at_start, at_end), np.ones(after, np.float32)))


def _distance(size: tuple[int, int], sides: Sides) -> npt.NDArray[np.float32]:
    """(height, width): how many pixels each pixel lies outside the picture, along the axis on which it is farther."""
    x = np.concatenate((np.arange(sides.left, 0, -1), np.zeros(size[0]), np.arange(1, sides.right + 1)))
    y = np.concatenate((np.arange(sides.top, 0, -1), np.zeros(size[1]), np.arange(1, sides.bottom + 1)))
    return np.maximum(x[None, :], y[:, None]).astype(np.float32)


def _noise(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(height, width, 3) of mean 0, in patches of a few pixels; always the same for a shape."""
    raw = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    patches = np.asarray(Image.fromarray(raw).filter(ImageFilter.GaussianBlur(_NOISE_BLUR)), dtype=np.float32)
    return (patches - patches.mean()) * (_NOISE / max(1.0, float(patches.std())))
