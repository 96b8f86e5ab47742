"""Which pixels does soft inpainting replace? Those that have really changed: where the latents lie apart, smoothed against stray pixels.

A1111's extension in numbers; plain arrays, no models.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from modules.domain.img2img import SoftInpainting

Map = npt.NDArray[np.float32]
"""(height, width) in latents."""

_DEVIATION = 1.5
_RADIUS = 2
_ALIASING = 4
"""Radius of the blur that hides the steps between latents."""

_LEAST_WEIGHT = 1.0


def changed_mask(soft: SoftInpainting, distance: Map, mask: Map, size: tuple[int, int]) -> Image.Image:
    """L, of `size` (width, height): how far the source is replaced. `distance` is that between the latents, `mask` 0..1."""
    smooth = _between(_between(distance, 0.9, 1.0), 0.25, 0.75)
    half = soft.difference_threshold * _leniency(mask, soft)
    ratio = np.divide(smooth, half, out=np.where(smooth > 0, np.inf, 0.0).astype(np.float32), where=half > 0)
    kept = 1 / (1 + ratio**soft.difference_contrast)
    share = 1 - kept**3 * (10 - 15 * kept + 6 * kept**2)
    picture = Image.fromarray((share * 255).clip(0, 255).astype(np.uint8))
    return picture.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(_ALIASING))


def _leniency(mask: Map, soft: SoftInpainting) -> Map:
    """How much may change before half of it counts, for a threshold of 1: everywhere the same, or more where the mask is dark."""
    dark = 1 - mask.clip(0, 1) ** (soft.preservation_strength / 2)
    mixed = 0.5 * (1 - soft.mask_influence) + dark * soft.mask_influence
    return (mixed / (1.00001 - mixed)).astype(np.float32)


def _between(values: Map, low: float, high: float) -> Map:
    """For each place the weighted mean of the values around it that lie between two quantiles (0..1), a bell of weights around it."""
    offsets = [(y, x) for y in range(-_RADIUS, _RADIUS + 1) for x in range(-_RADIUS, _RADIUS + 1) if _bell(y * y + x * x) > 0]
    padded = np.pad(values, _RADIUS, mode="edge")
    height, width = values.shape
    near = np.stack([padded[_RADIUS + y : _RADIUS + y + height, _RADIUS + x : _RADIUS + x + width] for y, x in offsets])
    order = np.argsort(near, axis=0)
    sorted_values = np.take_along_axis(near, order, axis=0)
    weights = np.array([_bell(y * y + x * x) for y, x in offsets], np.float32)[order]
    after = np.cumsum(weights, axis=0)
    start, end = _at_least(low, high, float(after[-1, 0, 0]))
    counted = (np.minimum(after, end) - np.maximum(after - weights, start)).clip(0)
    return (sorted_values * counted).sum(axis=0) / counted.sum(axis=0)


def _at_least(low: float, high: float, total: float) -> tuple[float, float]:
    """The quantiles in weights, made wide enough for one whole value."""
    start, end = low * total, high * total
    missing = max(0.0, _LEAST_WEIGHT - (end - start))
    start, end = start - missing / 2, end + missing / 2
    over = max(0.0, end - total)
    return max(0.0, start - over), min(total, end - min(0.0, start))


def _bell(squared: float) -> float:
    """A Gaussian that is 1 in the middle and 0 from the radius on."""
    end = math.exp(-(_RADIUS**2) / (2 * _DEVIATION**2))
    return max(0.0, (math.exp(-squared / (2 * _DEVIATION**2)) - end) / (1 - end))
