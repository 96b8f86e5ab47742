"""The user's tags: lists of words that models were trained on, in the layout of the A1111 extension for completing tags."""

from __future__ import annotations

import csv
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 64 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tag:
    """`count` says how many pictures were labelled with it, 0 where the file doesn't; `aliases` mean the same."""

    name: str
    count: int = 0
    aliases: tuple[str, ...] = ()


class TagFolder:
    """The `.csv` files (`name,category,count,"alias,alias"`) and `.txt` files (a tag a line) in a folder; thread-safe.

    A file is read again when it has changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp: tuple[tuple[str, int, int], ...] = ()
        self._tags: Sequence[Tag] = ()

    def all(self) -> Sequence[Tag]:
        """Every tag, the most frequent ones first; the same object as long as no file changes. A file that can't be read is logged."""
        with self._lock:
            files = self._files()
            stamp = tuple(map(_identity, files))
            if stamp != self._stamp:
                found = [tag for path in files for tag in _read(path)]
                self._tags = sorted(found, key=lambda tag: -tag.count)
                self._stamp = stamp
            return self._tags

    def _files(self) -> list[Path]:
        """The files, in the order of their names."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.suffix.lower() in (".csv", ".txt") and path.is_file())


def _identity(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # gone since it was listed
        return path.name, 0, 0
    return path.name, status.st_mtime_ns, status.st_size


def _read(path: Path) -> Iterator[Tag]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8-sig", "replace").replace("\0", "")
    except OSError as error:
        _log.warning("The tags in %s can't be read: %s.", path.name, error.strerror or error)
        return
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if path.suffix.lower() == ".txt":
        yield from (Tag(line) for line in lines if not line.startswith("#"))
        return
    for line in lines:
        try:
            row = next(csv.reader([line]))  # one at a time, so that a quote that is never closed costs its line only
        except csv.Error as error:
            _log.warning("A line of %s can't be read: %s.", path.name, error)
            continue
        if row[0].strip():
            yield _tag([cell.strip() for cell in row])


def _tag(row: list[str]) -> Tag:
    count = next((int(cell) for cell in row[2:3] if cell.isdecimal() and len(cell) < 13), 0)
    aliases = tuple(alias.strip() for cell in row[3:4] for alias in cell.split(",") if alias.strip())
    return Tag(row[0], count, aliases)
