"""How are the faces of a picture restored? Found, aligned, sent through the network one by one, and laid back over the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modules.faces.align import aligned, laid_back, region
from modules.faces.find import Face
from modules.upscalers.resize import Pixels
from modules.upscalers.tiles import FloatPixels

Restorer = Callable[[FloatPixels], FloatPixels]
"""An aligned face, (512, 512, 3) from 0 to 1, to the same one restored."""

OnFace = Callable[[int, int], None]
"""Gets the number of the face that begins, from 1, and how many there are. May raise to stop."""


def restored(pixels: Pixels, faces: Sequence[Face], network: Restorer, visibility: float, on_face: OnFace) -> Pixels:
    """The picture (H, W, 3) with its `faces` restored, `visibility` (0 to 1) strong; what is no face keeps every bit.

    Each is taken from the picture as it was, so that their order does not matter to the network. Raises what it and `on_face` raise.
    """
    result = pixels.copy()
    for number, face in enumerate(faces, start=1):
        on_face(number, len(faces))
        place = region(face.eyes, (pixels.shape[1], pixels.shape[0]))
        laid_back(result, network(aligned(pixels, place)), place, visibility)
    return result
