"""Sheets with legends: pictures where they belong, and words that are not over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFont

from modules.imaging.legend import MISSING, Label, legend_sheet, sheet_layout, too_large

Pixels = npt.NDArray[np.uint8]

RED, BLUE = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (20, 30), "blue")


def array(picture: Image.Image) -> Pixels:
    return np.asarray(picture)


def labels(*texts: str) -> list[list[Label]]:
    return [[Label(text)] for text in texts]


def test_without_words_a_sheet_is_its_cells() -> None:
    sheet = legend_sheet([[RED, None], [BLUE, RED]], margin=4)
    assert sheet.size == (84, 64)
    pixels = array(sheet)
    assert (pixels[:30, :40] == (255, 0, 0)).all()
    assert (pixels[:30, 44:] == tuple(bytes.fromhex(MISSING[1:]))).all(), "a cell without a picture is grey"
    assert (pixels[34:, 10:30] == (0, 0, 255)).all(), "a smaller picture is in the middle"
    assert (pixels[34:, :10] == 255).all()
    assert (pixels[30:34] == 255).all()


def test_words_are_above_and_beside_and_never_over_a_picture() -> None:
    cells = [[RED, RED], [RED, RED]]
    columns, rows = labels("an-endless-word-without-any-blank-in-it", "b"), labels("one", "two " * 30)
    layout = sheet_layout(cells, columns, rows)
    pixels = array(legend_sheet(cells, columns, rows))
    assert pixels.shape[:2] == (layout.size[1], layout.size[0])
    for row in range(2):
        for column in range(2):
            left, top = layout.cell(column, row)
            assert (pixels[top : top + 30, left : left + 40] == (255, 0, 0)).all()
    assert (pixels[: layout.top, layout.left :] < 128).any()
    assert (pixels[layout.top :, : layout.left] < 128).any()


def test_what_is_not_active_is_grey() -> None:
    big = Image.new("RGB", (200, 100), "white")
    active, faded = (array(legend_sheet([[big]], [[Label("words", active=on)]])) for on in (True, False))
    assert active.min() == 0
    assert 128 < faded.min() < 200
    assert (faded < 250).sum() > 0


def test_long_words_make_room_for_themselves() -> None:
    short, long = (sheet_layout([[RED]], labels(text)).top for text in ("a", "several words that need several lines"))
    assert long > short > 0
    assert sheet_layout([[RED]], labels("")).top == 0


def test_other_alphabets_are_written_where_the_system_can() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        pytest.skip("no such font on this system")
    big = Image.new("RGB", (300, 200), "white")
    first, second = (array(legend_sheet([[big]], labels(text))) for text in ("\u0416\u0416\u0416", "\u0429\u0429\u0429"))
    assert first.shape == second.shape
    assert (first != second).any()


def test_sheets_end_somewhere() -> None:
    assert too_large(800, 512, 1024)
    assert not too_large(700, 512, 512)
