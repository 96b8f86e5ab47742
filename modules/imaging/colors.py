"""How does a picture get the colours of another one? A1111's colour correction: histograms matched in LAB, the lightness kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]], np.float32)
_WHITE = np.array([0.950456, 1.0, 1.088754], np.float32)
"""D65."""

_LUMA = np.array([0.3, 0.59, 0.11], np.float32)
_KNEE = 0.008856
"""Below this share of white lightness is linear."""


def colour_matched(picture: Image.Image, reference: Image.Image) -> Image.Image:
    """`picture` with the distribution of colours of `reference`, and its own lightness. Both are RGB, of any size."""
    own = np.asarray(picture)
    wanted, found = _to_lab(np.asarray(reference)), _to_lab(own)
    matched = np.stack([_matched(found[..., channel], wanted[..., channel]) for channel in range(3)], axis=2)
    return Image.fromarray(_with_lightness(_to_rgb(matched), own))


def _matched(values: Bytes, wanted: Bytes) -> Bytes:
    """`values` moved so that as many are below each level as of `wanted`."""
    counts, levels = np.bincount(values.ravel(), minlength=256), np.bincount(wanted.ravel(), minlength=256)
    present = np.flatnonzero(levels)
    shares = np.cumsum(levels)[present] / wanted.size
    table = np.interp(np.cumsum(counts) / values.size, shares, present)
    return table.astype(np.uint8)[values]


def _to_lab(pixels: Bytes) -> Bytes:
    """8-bit sRGB -> LAB in bytes: lightness over the whole range, the others around 128."""
    shares = pixels.astype(np.float32) / 255
    linear = np.where(shares > 0.04045, ((shares + 0.055) / 1.055) ** 2.4, shares / 12.92)
    xyz = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(xyz > _KNEE, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness = np.where(xyz[..., 1] > _KNEE, 116 * bent[..., 1] - 16, 903.3 * xyz[..., 1]) * 255 / 100
    a, b = 500 * (bent[..., 0] - bent[..., 1]) + 128, 200 * (bent[..., 1] - bent[..., 2]) + 128
    return np.stack((lightness, a, b), axis=2).round().clip(0, 255).astype(np.uint8)


def _to_rgb(lab: Bytes) -> Floats:
    """The inverse of `_to_lab`, from 0 to 255 and not yet rounded."""
    values = lab.astype(np.float32)
    y = (values[..., 0] * 100 / 255 + 16) / 116
    bent = np.stack((y + (values[..., 1] - 128) / 500, y, y - (values[..., 2] - 128) / 200), axis=2)
    xyz = np.where(bent**3 > _KNEE, bent**3, (bent - 16 / 116) / 7.787) * _WHITE
    linear = (xyz @ np.linalg.inv(_TO_XYZ).T).clip(0, 1)
    shares = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return (shares * 255).astype(np.float32)


def _with_lightness(colours: Floats, lightness_of: Bytes) -> Bytes:
    """The blend mode "luminosity" (W3C, Compositing and Blending Level 1, section 10)."""
    wanted = (lightness_of.astype(np.float32) @ _LUMA)[..., None]
    moved = colours + (wanted - (colours @ _LUMA)[..., None])
    lowest, highest = moved.min(axis=2, keepdims=True), moved.max(axis=2, keepdims=True)
    down = np.where(lowest < 0, wanted / np.maximum(wanted - lowest, 1e-6), 1.0)
    up = np.where(highest > 255, (255 - wanted) / np.maximum(highest - wanted, 1e-6), 1.0)
    return (wanted + (moved - wanted) * np.minimum(down, up)).round().clip(0, 255).astype(np.uint8)
