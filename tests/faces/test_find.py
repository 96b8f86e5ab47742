"""Finding faces: where they and their eyes were drawn, the largest first, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from modules.faces.find import Face, FaceFinder, usual_eyes, without_overlaps
from modules.upscalers.resize import Pixels
from tests.drawn_faces import EYES, with_faces


def near(face: Face, left: int, top: int, side: int) -> bool:
    """Whether the face lies in the square, with eyes a twentieth of it or less from where they were drawn."""
    middle = face.box[0] + face.box[2] / 2 - left - side / 2, face.box[1] + face.box[3] / 2 - top - side / 2
    off = [np.hypot(x - left - ex * side, y - top - ey * side) for (x, y), (ex, ey) in zip(face.eyes, EYES, strict=True)]
    return max(map(abs, middle)) < side / 10 and max(off) < side / 20


@pytest.mark.parametrize("place", [(120, 60, 180), (10, 20, 90), (300, 200, 60)])
def test_a_face_and_its_eyes_are_where_they_were_drawn(place: tuple[int, int, int]) -> None:
    (face,) = FaceFinder().find(with_faces((400, 300), place))
    assert face.eyes_found and near(face, *place)


def test_several_come_largest_first() -> None:
    places = [(20, 20, 100), (160, 30, 200), (400, 150, 140)]
    found = FaceFinder().find(with_faces((600, 320), *places))
    assert len(found) == 3
    assert all(near(face, *place) for face, place in zip(found, (places[1], places[2], places[0]), strict=True))


def test_large_pictures_are_looked_through_small_and_answered_in_their_own_pixels() -> None:
    place = (900, 400, 900)
    (face,) = FaceFinder().find(with_faces((2600, 1700), place))
    assert near(face, *place)


def _grey(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (400, 300)])
def test_where_there_is_no_face_none_is_found(size: tuple[int, int]) -> None:
    assert FaceFinder().find(_grey(*size)) == []
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    assert FaceFinder().find(noise) == []


def test_a_tilted_face_has_tilted_eyes() -> None:
    picture = Image.fromarray(with_faces((400, 400), (100, 100, 200))).rotate(8, Image.Resampling.BICUBIC, fillcolor=(110, 110, 110))
    (face,) = FaceFinder().find(np.asarray(picture))
    (x1, y1), (x2, y2) = face.eyes
    assert face.eyes_found and 4 < np.degrees(np.arctan2(y1 - y2, x2 - x1)) < 12


def test_of_boxes_that_lie_over_each_other_the_surest_stays() -> None:
    def face(left: float, sure: int, *, eyes: bool = False) -> Face:
        box = (left, 0.0, 100.0, 100.0)
        return Face(box, usual_eyes(box), eyes, sure)

    assert without_overlaps([face(0, 50), face(20, 4, eyes=True), face(200, 20)]) == [face(20, 4, eyes=True), face(200, 20)]
