"""How does a face get into the square that restorers know, and back? A similarity from its eyes, and a mask that fades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modules.faces.find import Point
from modules.upscalers.resize import Pixels
from modules.upscalers.tiles import FloatPixels

SIDE = 512
TEMPLATE: tuple[Point, Point] = ((192.98, 239.95), (318.90, 240.19))
"""Where the eyes lie in the aligned faces of FFHQ at 512x512, which GFPGAN, RestoreFormer and CodeFormer were trained with."""

SOLID, GONE = 0.72, 0.96
"""How far from the square's middle (0) to its rim (1) the mask is whole, and from where on it is nothing."""

Matrix = npt.NDArray[np.float64]
"""(2, 3): what a point (x, y, 1) is multiplied with."""


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a picture that a square covers: pixels from `left`, `top` on; `into` leads from them into the square."""

    left: int
    top: int
    width: int
    height: int
    into: Matrix

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def similarity(eyes: tuple[Point, Point]) -> Matrix:
    """The rotation, uniform scale and shift that leads the eyes onto `TEMPLATE`'s: with complex z = x + iy, w = a z + b."""
    before, after = [complex(*eye) for eye in eyes], [complex(*eye) for eye in TEMPLATE]
    a = (after[1] - after[0]) / (before[1] - before[0])
    b = after[0] - a * before[0]
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def region(eyes: tuple[Point, Point], size: tuple[int, int]) -> Region:
    """What the square of the face with these eyes covers in a picture of `size` (width, height)."""
    into = similarity(eyes)
    corners = np.array([[0, 0, 1], [SIDE, 0, 1], [0, SIDE, 1], [SIDE, SIDE, 1]]) @ _inverse(into).T
    low = np.floor(corners.min(axis=0)).clip(0)
    high = np.minimum(np.ceil(corners.max(axis=0)), size)
    left, top = int(low[0]), int(low[1])
    into[:, 2] += into[:, :2] @ [left, top]
    return Region(left, top, int(high[0]) - left, int(high[1]) - top, into)


def aligned(pixels: Pixels, place: Region) -> FloatPixels:
    """The face in its square, (512, 512, 3) from 0 to 1; over the picture's border it goes on mirrored."""
    import cv2

    part = pixels[place.slices].astype(np.float32) / 255
    scale = _scale(place)
    if scale < 1:
        # else the square would hold every second or third pixel alone
        part = cv2.GaussianBlur(part, (0, 0), 0.5 * (1 / scale - 1) + 0.01)
    warped = cv2.warpAffine(part, place.into, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.float32).clip(0, 1)


def laid_back(pixels: Pixels, face: FloatPixels, place: Region, visibility: float) -> None:
    """Put the restored square over its face in `pixels`, which is changed, `visibility` (0 to 1) strong; the rest keeps every bit."""
    import cv2

    size, back, scale = (place.width, place.height), _inverse(place.into), _scale(place)
    if scale > 1:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), 0.5 * (scale - 1) + 0.01), np.float32)
    way = cv2.INTER_LINEAR if scale > 1 else cv2.INTER_CUBIC
    made = np.asarray(cv2.warpAffine(face, back, size, flags=way, borderMode=cv2.BORDER_REPLICATE), np.float32).clip(0, 1)
    share = np.asarray(cv2.warpAffine(mask(), back, size, flags=cv2.INTER_LINEAR, borderValue=0), np.float32)[..., None] * visibility
    below = pixels[place.slices].astype(np.float32)
    pixels[place.slices] = np.rint(below + share * (made * 255 - below)).astype(np.uint8)


def mask() -> npt.NDArray[np.float32]:
    """(512, 512): 1 in the middle, 0 at the rim, between them smooth, along rounded squares."""
    line = np.abs((np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1)
    distance = (line[:, None] ** 4 + line[None, :] ** 4) ** 0.25
    part = ((GONE - distance) / (GONE - SOLID)).clip(0, 1)
    return (part * part * (3 - 2 * part)).astype(np.float32)


def _scale(place: Region) -> float:
    return float(np.hypot(place.into[0, 0], place.into[1, 0]))


def _inverse(matrix: Matrix) -> Matrix:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
