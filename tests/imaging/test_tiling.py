"""Tiles that overlap: every pixel is covered, and what is cut apart comes together again as it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modules.imaging.tiling import joined, tile_boxes

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.integers(8, 40), st.integers(8, 40), st.integers(0, 4))
def test_cut_and_joined_is_the_same_picture(width: int, height: int, wide: int, high: int, overlap: int) -> None:
    pixels = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    boxes = tile_boxes((width, height), (wide, high), overlap)
    assert {(right - left, bottom - top) for left, top, right, bottom in boxes} == {(min(wide, width), min(high, height))}
    assert (np.asarray(joined([picture.crop(box) for box in boxes], boxes, (width, height))) == pixels).all()


def test_tiles_overlap_by_what_was_asked_for_at_least() -> None:
    starts = [box[0] for box in tile_boxes((1000, 512), (512, 512), 64)]
    assert starts == [0, 244, 488]
    assert [box[0] for box in tile_boxes((960, 512), (512, 512), 64)] == [0, 448]


def test_neighbours_fade_into_each_other() -> None:
    boxes = tile_boxes((24, 8), (16, 8), 8)
    whole = np.asarray(joined([Image.new("RGB", (16, 8), "black"), Image.new("RGB", (16, 8), "white")], boxes, (24, 8)))[0, :, 0].astype(
        int
    )
    assert (whole[:8] == 0).all()
    assert (whole[16:] == 255).all()
    assert (np.diff(whole[8:16]) > 0).all()
    assert (whole[8:16] + whole[15:7:-1] == 255).all()
