"""A face that a Haar cascade takes for one, drawn from shaded ellipses: tests have no photographs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]

EYES: tuple[Point, Point] = ((0.34, 0.42), (0.66, 0.42))
"""Where the eyes of a drawn face are, as shares of the square that it is drawn into."""


def face(side: int = 200) -> Image.Image:
    """A grey face that fills a square of `side` pixels."""
    big = 400
    picture = Image.new("L", (big, big), 110)
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, width: float, height: float, grey: int) -> None:
        box = [(x - width / 2) * big, (y - height / 2) * big, (x + width / 2) * big, (y + height / 2) * big]
        draw.ellipse(box, fill=grey)

    oval(0.5, 0.52, 0.78, 0.98, 60)
    oval(0.5, 0.55, 0.70, 0.86, 205)
    for x, y in EYES:
        oval(x, y - 0.09, 0.22, 0.04, 70)
        oval(x, y, 0.24, 0.12, 130)
        oval(x, y, 0.16, 0.07, 225)
        oval(x, y, 0.075, 0.075, 40)
    oval(0.5, 0.52, 0.07, 0.24, 225)
    oval(0.5, 0.64, 0.15, 0.05, 130)
    oval(0.33, 0.62, 0.16, 0.14, 220)
    oval(0.67, 0.62, 0.16, 0.14, 220)
    oval(0.5, 0.78, 0.28, 0.07, 95)
    oval(0.5, 0.86, 0.2, 0.03, 180)
    return picture.filter(ImageFilter.GaussianBlur(6)).resize((side, side), Image.Resampling.LANCZOS)


def with_faces(size: tuple[int, int], *places: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """(height, width, 3): faces on a grey ground with faint noise; a place is (left, top, side)."""
    picture = Image.new("L", size, 110)
    for left, top, side in places:
        picture.paste(face(side), (left, top))
    noise = np.random.default_rng(0).integers(-4, 5, (size[1], size[0], 3))
    return np.clip(np.asarray(picture)[:, :, None] + noise, 0, 255).astype(np.uint8)
