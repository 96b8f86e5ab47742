"""Faces aligned, restored and laid back: what changes, how strongly, how softly it ends, and that the rest keeps every bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from modules.faces.align import SIDE, TEMPLATE, aligned, mask, region
from modules.faces.find import Face, FaceFinder
from modules.faces.restore import Restorer, restored
from modules.upscalers.tiles import FloatPixels
from tests.drawn_faces import EYES, with_faces

PLACE = (150, 110, 160)


def white(face: FloatPixels) -> FloatPixels:
    return np.ones_like(face)


def same(face: FloatPixels) -> FloatPixels:
    return face


def run(pixels: npt.NDArray[np.uint8], network: Restorer, visibility: float = 1.0) -> npt.NDArray[np.uint8]:
    return restored(pixels, FaceFinder().find(pixels), network, visibility, lambda number, count: None)


@pytest.fixture(scope="module")
def picture() -> npt.NDArray[np.uint8]:
    return with_faces((480, 400), PLACE)


def square(picture: npt.NDArray[np.uint8]) -> tuple[Face, npt.NDArray[np.bool_]]:
    """(the face, which pixels its square covers)."""
    (face,) = FaceFinder().find(picture)
    place = region(face.eyes, (picture.shape[1], picture.shape[0]))
    inside = np.zeros(picture.shape[:2], bool)
    inside[place.slices] = True
    return face, inside


@pytest.mark.parametrize("side", [60, 160, 900])
def test_the_eyes_come_where_the_networks_know_them(side: int) -> None:
    pixels = with_faces((side * 3, side * 3), (side, side, side))
    (face,) = FaceFinder().find(pixels)
    got = aligned(pixels, region(face.eyes, (side * 3, side * 3)))
    assert got.shape == (SIDE, SIDE, 3) and got.dtype == np.float32
    again = FaceFinder().find(np.rint(got * 255).astype(np.uint8))
    for eye, wanted in zip(again[0].eyes, TEMPLATE, strict=True):
        assert np.hypot(eye[0] - wanted[0], eye[1] - wanted[1]) < SIDE / 25


def test_only_the_face_changes(picture: npt.NDArray[np.uint8]) -> None:
    _, inside = square(picture)
    result = run(picture, white)
    assert np.array_equal(result[~inside], picture[~inside])
    left, top, side = PLACE
    assert (result[top + side // 3 : top + side * 2 // 3, left + side // 3 : left + side * 2 // 3] == 255).all()


def test_the_edge_is_soft(picture: npt.NDArray[np.uint8]) -> None:
    """White over a flat ground: no two neighbours differ by more than a fade over a ninth of the square makes them."""
    flat = np.full_like(picture, 100)
    result = restored(flat, [square(picture)[0]], white, 1.0, lambda number, count: None).astype(int)
    steepest = max(np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1))
    assert result.max() == 255 and result.min() == 100 and steepest <= 155 / 8


def test_visibility_is_a_share(picture: npt.NDArray[np.uint8]) -> None:
    assert np.array_equal(run(picture, white, 0.0), picture)
    whole, half = run(picture, white).astype(float), run(picture, white, 0.5).astype(float)
    assert np.abs(half - (whole + picture) / 2).max() <= 1


def test_a_network_that_changes_nothing_hardly_blurs_the_picture(picture: npt.NDArray[np.uint8]) -> None:
    difference = np.abs(run(picture, same).astype(int) - picture)
    assert difference.max() <= 12 and difference.mean() < 1


@pytest.mark.parametrize("place", [(-30, 40, 160), (360, 40, 160), (150, -10, 160), (150, 270, 160)])
def test_faces_may_reach_over_the_border(place: tuple[int, int, int]) -> None:
    pixels = with_faces((480, 400), place)
    left, top, side = place
    box = (float(left), float(top), float(side), float(side))
    (first, second) = [(left + x * side, top + y * side) for x, y in EYES]
    result = restored(pixels, [Face(box, (first, second), True, 9)], white, 1.0, lambda number, count: None)
    assert result.shape == pixels.shape and (result == 255).any() and not np.array_equal(result, pixels)


def test_it_may_be_stopped_before_each_face() -> None:
    pixels = with_faces((480, 240), (20, 20, 160), (260, 40, 160))
    told: list[tuple[int, int]] = []

    def stop(number: int, count: int) -> None:
        told.append((number, count))
        if number == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        restored(pixels, FaceFinder().find(pixels), white, 1.0, stop)
    assert told == [(1, 2), (2, 2)]


def test_the_mask_is_whole_in_the_middle_and_nothing_at_the_rim() -> None:
    found = mask()
    rim = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    assert not rim.any() and (found[128:384, 128:384] == 1).all()
    assert np.array_equal(found, found.T) and np.array_equal(found, found[::-1])
