"""Where are the faces in a picture, and where their eyes? By OpenCV's Haar cascades, which come inside its package.

They find faces that look at the viewer, upright within some fifteen degrees: docs/adr/0008-faces.md says why these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modules.upscalers.resize import Pixels

if TYPE_CHECKING:
    import cv2

MAX_FACES = 32
MAX_SIDE = 1280
"""Larger pictures are looked through at this size; faces are the larger, too."""
MIN_FACE = 28
"""The smallest face that is looked for, in pixels of the picture that is looked through."""

SURE_WITH_EYES, SURE_WITHOUT = 3, 12
"""How many of the windows that lie over each other must show a face for it to be one: with its eyes found, and without."""

EYE_HEIGHT, EYE_DISTANCE = 0.4, 0.19
"""Where eyes lie in a cascade's box where none were found: shares of its height from the top, of its width from the middle."""

_EYES_SIZE = 240
"""Eyes are looked for in the face's box at this width."""

Point = tuple[float, float]
"""(x, y) in pixels of the picture, right and down."""

Box = tuple[float, float, float, float]
"""(left, top, width, height) in pixels of the picture."""

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Face:
    """A face's box and its eyes, the one that lies left in the picture first. `sure` is how many windows of the cascade agreed."""

    box: Box
    eyes: tuple[Point, Point]
    eyes_found: bool
    sure: int


class FaceFinder:
    """Holds the cascades. Not for several threads at once."""

    def __init__(self) -> None:
        self._cascades: tuple[cv2.CascadeClassifier, cv2.CascadeClassifier] | None = None

    def find(self, pixels: Pixels) -> list[Face]:
        """The faces of a picture (H, W, 3), the largest first, `MAX_FACES` at most."""
        # here and not above: only who restores faces waits for the library
        import cv2

        if self._cascades is None:
            self._cascades = _cascade("haarcascade_frontalface_default.xml"), _cascade("haarcascade_eye_tree_eyeglasses.xml")
        face_cascade, eye_cascade = self._cascades
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        shrunk = max(1.0, max(grey.shape) / MAX_SIDE)
        small = _resized(grey, 1 / shrunk) if shrunk > 1 else grey
        flat = cv2.equalizeHist(small)
        boxes, counts = face_cascade.detectMultiScale2(flat, scaleFactor=1.1, minNeighbors=SURE_WITH_EYES, minSize=(MIN_FACE, MIN_FACE))
        found: list[Face] = []
        for (left, top, width, height), sure in zip(boxes, counts, strict=True):
            box = (left * shrunk, top * shrunk, width * shrunk, height * shrunk)
            eyes = _eyes_in(grey, box, eye_cascade)
            if eyes is not None or sure >= SURE_WITHOUT:
                found.append(Face(box, eyes or usual_eyes(box), eyes is not None, int(sure)))
        return sorted(without_overlaps(found), key=lambda face: -face.box[2])[:MAX_FACES]


def usual_eyes(box: Box) -> tuple[Point, Point]:
    """Where the eyes of a face with this box lie when it looks straight ahead."""
    left, top, width, height = box
    middle, y = left + width / 2, top + height * EYE_HEIGHT
    return (middle - width * EYE_DISTANCE, y), (middle + width * EYE_DISTANCE, y)


def without_overlaps(faces: Iterable[Face]) -> list[Face]:
    """The faces without those whose middle lies in the box of one that is surer: with its eyes found, or by more windows."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (face.eyes_found, face.sure), reverse=True):
        if not any(_holds(other.box, face.box) or _holds(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def _eyes_in(grey: Grey, box: Box, cascade: cv2.CascadeClassifier) -> tuple[Point, Point] | None:
    """Both eyes, where one is found in each half of the box's upper part and they lie as eyes do."""
    left, top, width, height = (round(value) for value in box)
    upper = grey[max(0, top) : top + round(height * 0.65), max(0, left) : left + width]
    if min(upper.shape) < 8:
        return None
    zoom = _EYES_SIZE / width
    seen, counts = cascade.detectMultiScale2(_resized(upper, zoom), scaleFactor=1.05, minNeighbors=2, minSize=(20, 20))
    points = [
        ((x + w / 2) / zoom + max(0, left), (y + h / 2) / zoom + max(0, top), int(sure))
        for (x, y, w, h), sure in zip(seen, counts, strict=True)
    ]
    middle = box[0] + box[2] / 2
    first = _surest(point for point in points if point[0] < middle)
    second = _surest(point for point in points if point[0] >= middle)
    if first is None or second is None:
        return None
    across, down = second[0] - first[0], second[1] - first[1]
    return (first, second) if 0.25 * width < across < 0.65 * width and abs(down) < across / 2 else None


def _holds(outer: Box, inner: Box) -> bool:
    x, y = inner[0] + inner[2] / 2 - outer[0], inner[1] + inner[3] / 2 - outer[1]
    return 0 <= x <= outer[2] and 0 <= y <= outer[3]


def _surest(points: Iterable[tuple[float, float, int]]) -> Point | None:
    best = max(points, key=lambda point: point[2], default=None)
    return best[:2] if best else None


def _resized(grey: Grey, factor: float) -> Grey:
    import cv2

    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=way), np.uint8)


def _cascade(name: str) -> Any:
    import cv2
    import cv2.data

    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name))
