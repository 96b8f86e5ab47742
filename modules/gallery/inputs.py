"""The pictures that requests begin from: put here when they arrive, named by what they show, deleted when nobody needs them any more.

A request holds their ids; the engine reads the files. Knows neither requests nor the queue.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from modules.domain.errors import ImageUnreadable, InvalidRequest, StorageError
from modules.imaging.files import encode_image, open_image
from modules.imaging.normalise import plain_picture
from modules.settings.atomic import atomic_write
from modules.settings.paths import input_file

log = logging.getLogger(__name__)

MAX_SIDE = 8192
MAX_BYTES = 4 * 1024**3
"""How much all files together may take before the oldest go."""

MAX_AGE = 30 * 24 * 3600.0
"""Seconds after which a picture that nobody used goes."""

YOUNG = 24 * 3600.0
"""Seconds within which none goes, whatever the others take."""

_BETWEEN_LOOKS = 3600.0
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """A picture that is there. `id` is what requests call it: the beginning of its file's sha256."""

    id: str
    width: int
    height: int
    has_alpha: bool
    """Whether something in it is transparent."""


class InputStore:
    """PNG files in `folder`. `in_use` says which ids jobs still wait for. Every method may be called from any thread."""

    def __init__(self, folder: Path, in_use: Callable[[], Collection[str]] = tuple[str, ...]) -> None:
        self._folder = folder
        self._in_use = in_use
        self._lock = threading.Lock()
        self._looked = float("-inf")

    def put(self, data: bytes) -> StoredInput:
        """Keep the picture in a file that came from outside, as `imaging.normalise` reads it; the same picture again has the same id.

        Raises `InvalidRequest` for what is no picture, damaged or too large, `StorageError` where it can't be written.
        """
        try:
            picture = plain_picture(data)
        except ImageUnreadable as error:
            raise InvalidRequest(f"The picture can't be used: {error}") from error
        return self.put_picture(picture)

    def put_picture(self, picture: Image.Image) -> StoredInput:
        """Keep a picture that is RGB or RGBA already. Raises as `put` does."""
        if max(picture.size) > MAX_SIDE:
            raise InvalidRequest(f"The picture has {picture.width}x{picture.height} pixels; {MAX_SIDE} a side are the most.")
        file = encode_image(picture, "png")
        name = hashlib.sha256(file).hexdigest()[:_ID_DIGITS]
        self._write(name, file)
        self._look()
        return StoredInput(id=name, width=picture.width, height=picture.height, has_alpha=picture.mode == "RGBA")

    def path(self, name: str) -> Path:
        """The file of a picture that is there. Raises `InvalidRequest`."""
        path = input_file(self._folder, name)
        if path is None or not path.is_file():
            raise InvalidRequest("The start picture is not here any more: upload it again.")
        return path

    def open(self, name: str) -> Image.Image:
        """The picture itself. Raises `InvalidRequest`."""
        try:
            return open_image(self.path(name))
        except ImageUnreadable as error:
            raise InvalidRequest(f"The start picture can't be read: {error} Upload it again.") from error

    def prune(self) -> int:
        """Delete what is too old, and the oldest of what is too much, but for what is young or in use; how many went."""
        with self._lock:
            now, kept = time.time(), set(self._in_use())
            files = sorted(self._files(), reverse=True)
            total, gone = 0, 0
            for changed, size, path in files:
                total += size
                unwanted = total > MAX_BYTES or now - changed > MAX_AGE
                if unwanted and now - changed > YOUNG and path.stem not in kept:
                    with contextlib.suppress(OSError):
                        path.unlink()
                        total, gone = total - size, gone + 1
        if gone:
            log.info("deleted %d start pictures that nothing needs any more", gone)
        return gone

    def _write(self, name: str, file: bytes) -> None:
        """Write the file, or note that the one that is there was wanted again."""
        path = self._folder / f"{name}.png"
        try:
            # not while files are being deleted, which have been looked at before
            with self._lock:
                if path.is_file() and path.stat().st_size == len(file):
                    os.utime(path)
                    return
            self._folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, file)
        except OSError as error:
            raise StorageError(
                f"The picture could not be kept in {self._folder.name} ({error.strerror or error}). Free some space."
            ) from error

    def _files(self) -> list[tuple[float, int, Path]]:
        """(when it was wanted last, its size in bytes, the file) of each."""
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*.png"):
            # somebody else may have deleted it meanwhile
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _look(self) -> None:
        """Prune, once in a while. What can't be tidied up now is no reason to refuse a picture."""
        now = time.monotonic()
        if now - self._looked > _BETWEEN_LOOKS:
            self._looked = now
            try:
                self.prune()
            except (OSError, StorageError) as error:
                log.warning("old start pictures could not be deleted: %s", error)
