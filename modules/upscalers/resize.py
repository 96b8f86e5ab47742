"""How is a picture enlarged without a model? Plain filters. Knows no latents and no requests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3)."""


def resized(pixels: Pixels, size: tuple[int, int], method: str) -> Pixels:
    """The picture in (width, height); `method` is Nearest, or Lanczos, which "None" is too."""
    filter_ = Image.Resampling.NEAREST if method == "Nearest" else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size, filter_))
