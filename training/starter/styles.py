"""Ways to draw a picture that a prompt can ask for: "a cat, sepia". Line art is not among them: a LoRA teaches that.

Pixel art was, and was not learnt: its squares are hardly larger than a latent is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])  # the usual matrix, rows of r, g, b


def sepia(picture: np.ndarray) -> np.ndarray:
    """Return an old brown photograph, darker at its corners."""
    height, width = picture.shape[:2]
    y, x = (np.linspace(-1.0, 1.0, n) for n in (height, width))
    corners = 1.0 - 0.22 * (y[:, None] ** 2 + x[None] ** 2)
    brown = picture.astype(np.float32) @ SEPIA.T * corners[..., None]
    return np.clip(brown * 0.9, 0, 255).round().astype(np.uint8)


def watercolour(picture: np.ndarray) -> np.ndarray:
    """Return pale washes on paper: flat patches whose rims are darker."""
    flat = Image.fromarray(picture).filter(ImageFilter.MedianFilter(7)).filter(ImageFilter.GaussianBlur(0.8))
    wash = np.asarray(flat, dtype=np.float32)
    blurred = np.asarray(flat.filter(ImageFilter.GaussianBlur(3.0)), dtype=np.float32)
    rims = np.clip(wash - blurred, -40.0, 0.0)  # the darker side of an edge
    return np.clip(250.0 - 0.68 * (250.0 - wash) + 0.9 * rims, 0, 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Style:
    """What is done to a picture (h, w, 3) uint8, and how a caption says it: before the objects ("... of a cat"), or after a comma."""

    apply: Callable[[np.ndarray], np.ndarray]
    before: tuple[str, ...]
    after: tuple[str, ...]


STYLES: dict[str, Style] = {
    "sepia": Style(sepia, ("a sepia photo of",), ("sepia", "sepia photo")),
    "watercolour": Style(
        watercolour,
        ("a watercolour of", "a watercolor of", "a watercolour painting of", "a watercolor painting of"),
        ("watercolour", "watercolor", "watercolor painting"),
    ),
}


def follows(name: str, picture: np.ndarray, plain: np.ndarray) -> bool:
    """Return whether a drawn picture (h, w, 3) uint8 is in a style; `plain` is the same one drawn without the style's words."""
    if name == "sepia":
        return _off_brown(picture) < 0.5 * _off_brown(plain)
    return _darkest(picture) > _darkest(plain) + 10.0 and _sharpness(picture) < 0.85 * _sharpness(plain)


def _off_brown(picture: np.ndarray) -> float:
    """How far pixels are from shades of sepia's brown, of 255; renderings in sepia are below 7, others above 20, drawn ones between."""
    brown = SEPIA.sum(1) / np.linalg.norm(SEPIA.sum(1))
    pixels = picture.astype(np.float32)
    shades = (pixels @ brown)[..., None] * brown
    return float(np.linalg.norm(pixels - shades, axis=-1).mean())


def _darkest(picture: np.ndarray) -> float:
    return float(np.percentile(picture.mean(2), 1))


def _sharpness(picture: np.ndarray) -> float:
    return float(np.percentile(np.abs(np.diff(picture.astype(np.float32), axis=1)).max(2), 99))
