"""How does a picture get into a file and out of it, with its infotext? Bytes in, pictures out; knows no names or folders.

PNG keeps the infotext in a text chunk called `parameters`, JPEG, WebP and AVIF in EXIF's UserComment, GIF in its comment. What other
programs keep in their own ways is read as the infotext that it means.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from modules.domain.errors import ImageUnreadable
from modules.imaging.foreign.read import foreign_infotext

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""What is opened at all: formats that hold pixels and whose decoders Pillow keeps safe."""

MAX_PIXELS = 64_000_000

OUR_PIXELS = 400_000_000
"""Our own pictures and their grids are larger than what is decoded for strangers; their texts are read all the same."""

_PNG_LEVEL = 1
"""The quickest: a higher one takes twice as long for files a tenth smaller."""

_EXIF_LIMIT = 65_000
"""Bytes of EXIF that fit a JPEG's one segment."""

_UNICODE = b"UNICODE\0"

_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    EOFError,
    struct.error,
    MemoryError,
    RuntimeError,
)
"""What Pillow's decoders raise on damaged files."""


def encode_image(
    image: Image.Image, fmt: str, infotext: str | None = None, quality: int = 80, *, chunks: Mapping[str, str] | None = None
) -> bytes:
    """A complete file as bytes. `fmt` is png, jpg, webp or avif; `quality` 1..100 is not for PNG.

    JPEG has room for 64 KB of EXIF: an infotext that is larger is left out of it. `chunks` are more texts by name; PNG alone keeps them.
    """
    out = io.BytesIO()
    if fmt == "png":
        texts = PngImagePlugin.PngInfo()
        for name, text in {**({"parameters": infotext} if infotext else {}), **(chunks or {})}.items():
            texts.add_text(name, text)
        image.save(out, "PNG", compress_level=_PNG_LEVEL, pnginfo=texts)
        return out.getvalue()
    exif = _exif(infotext) if infotext else b""
    if fmt == "jpg":
        image.convert("RGB").save(out, "JPEG", quality=quality, exif=exif if len(exif) < _EXIF_LIMIT else b"")
    else:
        image.save(out, {"webp": "WEBP", "avif": "AVIF"}[fmt], quality=quality, exif=exif)
    return out.getvalue()


def encode_animation(frames: Sequence[Image.Image], fmt: str, infotext: str | None = None, duration: int = 200) -> bytes:
    """A complete animated file that begins again at its end. `fmt` is webp or gif, `duration` milliseconds a frame."""
    out = io.BytesIO()
    first, *others = frames
    common = {"save_all": True, "append_images": others, "duration": duration, "loop": 0}
    if fmt == "gif":
        first.save(out, "GIF", comment=(infotext or "").encode("utf-8"), **common)
    else:
        first.save(out, "WEBP", quality=90, exif=_exif(infotext) if infotext else b"", **common)
    return out.getvalue()


def read_infotext(source: str | os.PathLike[str] | BinaryIO) -> str:
    """The infotext inside a picture, empty if it has none; of one that is too large to decode, what stands before the pixels.

    Raises `ImageUnreadable`.
    """
    with _opened(source, OUR_PIXELS) as image:
        return _infotext(image)


def open_image(source: str | os.PathLike[str] | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The decoded picture, its metadata in `.info`. Raises `ImageUnreadable` for damaged, foreign and too large files."""
    with _opened(source, max_pixels) as image:
        image.load()
        return image.copy()


def read_shape(source: str | os.PathLike[str] | BinaryIO) -> tuple[tuple[int, int], str]:
    """((width, height), Pillow's mode) of a picture, from its beginning alone. Raises `ImageUnreadable`."""
    with _opened(source, MAX_PIXELS) as image:
        return image.size, image.mode


def pixel_hash(image: Image.Image) -> str:
    """The MD5 of the pixels, which is what A1111 calls a start picture that it keeps."""
    return hashlib.md5(image.tobytes(), usedforsecurity=False).hexdigest()


@contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO, max_pixels: int) -> Generator[Image.Image, None, None]:
    name = Path(source).name if isinstance(source, (str, os.PathLike)) else "the file"
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageUnreadable(
                    f"{name} has {image.width} x {image.height} pixels; at most {max_pixels // 1_000_000} megapixels are opened."
                )
            yield image
    except Image.DecompressionBombError as error:
        raise ImageUnreadable(f"{name} has too many pixels to be opened.") from error
    except UnidentifiedImageError as error:
        raise ImageUnreadable(f"{name} is no picture of a known kind ({', '.join(FORMATS)}).") from error
    except FileNotFoundError as error:
        raise ImageUnreadable(f"{name} is not there any more.") from error
    except _DECODE_ERRORS as error:
        raise ImageUnreadable(f"{name} is damaged and can't be read: {error}.") from error


def _infotext(image: Image.Image) -> str:
    if image.format == "PNG" and "parameters" not in image.info and image.width * image.height <= MAX_PIXELS:
        # Some programs write their text behind the pixels.
        image.load()
    text = _own_text(image)
    if text and not text.lstrip().startswith("{"):
        return text
    tags = {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in image.getexif().items()}
    chunks = {str(name): value for name, value in {**tags, **image.info}.items() if isinstance(value, str)}
    return foreign_infotext({**chunks, "parameters": text}) or text


def _own_text(image: Image.Image) -> str:
    text = image.info.get("parameters")
    if isinstance(text, str):
        return text
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if comment is None:
        comment = image.info.get("comment")
    if isinstance(comment, bytes):
        return _decoded(comment)
    return comment if isinstance(comment, str) else ""


def _exif(infotext: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UNICODE + infotext.encode("utf-16-be", "surrogatepass")
    return exif.tobytes()


def _decoded(comment: bytes) -> str:
    """EXIF names its character set in the first eight bytes; "Unicode" is UTF-16 of either byte order."""
    if comment.startswith(_UNICODE):
        data = comment[len(_UNICODE) :]
        if data[:2] in (b"\xfe\xff", b"\xff\xfe"):
            return data.decode("utf-16", "replace")
        # Most letters have a zero byte, and it is the first of the two in big-endian order.
        little = data[1::2].count(0) > data[0::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be", "replace")
    for mark in (b"ASCII\0\0\0", b"\0" * 8):
        comment = comment.removeprefix(mark)
    return comment.decode("utf-8", "replace").rstrip("\0")
