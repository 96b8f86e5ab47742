"""What does a file that somebody hands in show? Its first picture, upright, in 8 bits: RGB, or RGBA where something is transparent.

Bytes in, a picture out; knows no names or folders.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from modules.imaging.files import open_image

_BITS_8, _BITS_16 = 255, 65535


def plain_picture(data: bytes) -> Image.Image:
    """The picture in a file of any kind that is opened at all. Raises `ImageUnreadable`."""
    picture = _in_8_bits(_upright(open_image(io.BytesIO(data))))
    if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        picture = picture.convert("RGBA")
        return picture if picture.getchannel("A").getextrema() != (_BITS_8, _BITS_8) else picture.convert("RGB")
    return picture.convert("RGB")


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; one whose EXIF can't be read is taken as it lies."""
    try:
        return ImageOps.exif_transpose(picture)
    except (SyntaxError, struct.error, ValueError, TypeError, KeyError, OSError):
        return picture


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Greys of 16 and 32 bits and of floating point, which Pillow would cut off at 255, brought down to 8; the others as they are."""
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0.0, neginf=0.0)
    white = _BITS_16 if picture.mode.startswith("I;16") else _white(values, fractions=picture.mode == "F")
    return Image.fromarray((values / white * _BITS_8).round().clip(0, _BITS_8).astype(np.uint8))


def _white(values: npt.NDArray[np.float64], *, fractions: bool) -> float:
    """What stands for white where the file does not say it: the smallest of the usual ends of the scale that holds all values."""
    largest = float(values.max(initial=0.0))
    ends = (1.0, _BITS_8, _BITS_16) if fractions else (_BITS_8, _BITS_16)
    return next((float(end) for end in ends if largest <= end), largest)
