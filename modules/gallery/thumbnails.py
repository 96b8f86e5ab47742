"""Small versions of saved pictures, made when somebody first looks at one and kept in a cache that may be deleted at any time."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from modules.domain.errors import ImageUnreadable
from modules.imaging.files import OUR_PIXELS, encode_image, open_image

log = logging.getLogger(__name__)

_QUALITY = 80

_UNREADABLE = "unreadable-"


class Thumbnails:
    """The cache in `folder`: WebP files, named by picture and size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, image_id: str, source: Path, side: int) -> Path:
        """A file with the picture in at most `side` x `side` pixels; a grey square for a file that is gone or damaged.

        Where the cache can't be written the answer is `source` itself.
        """
        side = max(16, min(side, 2048))
        cached = self._folder / image_id[:2] / f"{image_id}-{side}.webp"
        if cached.is_file():
            return cached
        try:
            picture = open_image(source, max_pixels=OUR_PIXELS)
        except ImageUnreadable as error:
            log.info("no thumbnail: %s", error)
            picture, cached = _placeholder(side), self._folder / f"{_UNREADABLE}{side}.webp"
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        try:
            _write(cached, encode_image(_plain(picture), "webp", quality=_QUALITY))
        except OSError as error:
            log.warning("thumbnails can't be kept in %s: %s", self._folder.name, error)
            return source
        return cached

    def is_placeholder(self, thumbnail: Path) -> bool:
        """Whether a thumbnail stands for a file that could not be read, which may be readable again any moment."""
        return thumbnail.name.startswith(_UNREADABLE)

    def forget(self, image_id: str) -> None:
        """Delete what is cached of a picture."""
        for path in (self._folder / image_id[:2]).glob(f"{image_id}-*.webp"):
            with contextlib.suppress(OSError):
                path.unlink()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, but without waiting for the disk: what a power cut takes is made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _plain(picture: Image.Image) -> Image.Image:
    """A mode that WebP can hold."""
    if picture.mode in ("RGB", "RGBA"):
        return picture
    return picture.convert("RGBA" if "transparency" in picture.info or picture.mode in ("LA", "PA") else "RGB")


def _placeholder(side: int) -> Image.Image:
    picture = Image.new("RGB", (side, side), (96, 96, 96))
    pen = ImageDraw.Draw(picture)
    pen.line((side // 4, side // 4, side * 3 // 4, side * 3 // 4), fill=(160, 160, 160), width=max(2, side // 32))
    pen.line((side // 4, side * 3 // 4, side * 3 // 4, side // 4), fill=(160, 160, 160), width=max(2, side // 32))
    return picture
