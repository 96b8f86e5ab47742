"""The contact sheet has the rows that the settings ask for."""

from __future__ import annotations

import pytest
from PIL import Image

from modules.imaging.grid import grid_rows, image_grid


@pytest.mark.parametrize(
    ("count", "setting", "batch_size", "rows"),
    [(4, -1, 1, 2), (3, -1, 1, 2), (2, -1, 2, 1), (6, 0, 2, 2), (6, 3, 1, 3), (2, 5, 1, 2), (1, -1, 1, 1), (7, -1, 1, 3)],
)
def test_rows(count: int, setting: int, batch_size: int, rows: int) -> None:
    assert grid_rows(count, setting, batch_size) == rows


def test_pictures_lie_row_by_row_on_white() -> None:
    images = [Image.new("RGB", (10, 8), color) for color in ("red", "lime", "blue")]
    sheet = image_grid(images, 2)
    assert sheet.size == (20, 16)
    assert [sheet.getpixel(at) for at in ((5, 4), (15, 4), (5, 12), (15, 12))] == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def test_smaller_pictures_lie_in_the_middle() -> None:
    sheet = image_grid([Image.new("RGB", (10, 10), "red"), Image.new("RGB", (4, 4), "blue")], 1)
    assert sheet.getpixel((15, 5)) == (0, 0, 255)
    assert sheet.getpixel((11, 1)) == (255, 255, 255)
