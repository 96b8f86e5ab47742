"""How do several pictures become one? The contact sheet that is saved beside a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image


def grid_rows(count: int, setting: int, batch_size: int) -> int:
    """How many rows `count` pictures get: `setting` itself, or the batch size where it is 0, or a near-square where it is -1."""
    rows = setting if setting > 0 else batch_size if setting == 0 else round(math.sqrt(count))
    return max(1, min(rows, count))


def image_grid(images: Sequence[Image.Image], rows: int) -> Image.Image:
    """The pictures row by row on white, each in the middle of a cell as large as the largest. Needs at least one picture."""
    columns = math.ceil(len(images) / rows)
    width, height = max(image.width for image in images), max(image.height for image in images)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(images):
        x = index % columns * width + (width - image.width) // 2
        y = index // columns * height + (height - image.height) // 2
        sheet.paste(image, (x, y))
    return sheet
