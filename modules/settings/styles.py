"""The user's styles: `styles.csv` as A1111 writes it, with columns name, prompt and negative_prompt, replaced whole and never half.

A file that can't be read is kept as it is and reported; nothing is written over it.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from modules.domain.errors import InvalidRequest, StorageError
from modules.domain.styles import Style
from modules.settings.atomic import atomic_write, remove_leftovers

MAX_TEXT = 20_000
COLUMNS = ("name", "prompt", "negative_prompt")

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""What a file of UTF-8 lines can't hold, or can't be read back with."""


class StyleStore:
    """The styles by name, in the file's order. Every method may be called from any thread; an edit made with another program is seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._styles: Mapping[str, Style] = MappingProxyType({})
        self._problem = ""
        self._seen: tuple[int, int] | None = None
        remove_leftovers(path)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about a file that could not be read."""
        self.all()
        return (self._problem,) if self._problem else ()

    def all(self) -> tuple[Style, ...]:
        """All styles."""
        with self._lock:
            self._read_if_changed()
            return tuple(self._styles.values())

    def find(self, name: str) -> Style:
        """The style of this name. Raises `InvalidRequest` where there is none."""
        for style in self.all():
            if style.name == name:
                return style
        raise InvalidRequest(f"There is no style called {name!r}: take it out of Styles, or save one of that name.")

    def save(self, style: Style) -> None:
        """Add a style, or replace the one of its name; on the disk when this returns. Raises `InvalidRequest` and `StorageError`."""
        if not style.name.strip() or any(mark in style.name for mark in "\r\n") or len(style.name) > 200:
            raise InvalidRequest("A style needs a name of one line, up to 200 characters.")
        kept = Style(name=style.name, prompt=_one_line_end(style.prompt), negative_prompt=_one_line_end(style.negative_prompt))
        if max(len(kept.prompt), len(kept.negative_prompt)) > MAX_TEXT:
            raise InvalidRequest(f"A style's text can have {MAX_TEXT} characters at most.")
        if _UNWRITABLE.search(kept.name + kept.prompt + kept.negative_prompt):
            raise InvalidRequest("A style can't hold characters that no text file can: take out what is shown as boxes or not at all.")
        with self._lock:
            self._read_if_changed()
            self._write({**self._styles, kept.name: kept})

    def delete(self, name: str) -> None:
        """Forget a style. Raises `InvalidRequest` where there is none, and `StorageError`."""
        self.find(name)
        with self._lock:
            self._write({key: style for key, style in self._styles.items() if key != name})

    def _read_if_changed(self) -> None:
        try:
            stat = self._path.stat()
        except OSError:
            self._styles, self._seen, self._problem = MappingProxyType({}), None, ""
            return
        if self._seen == (stat.st_mtime_ns, stat.st_size):
            return
        self._seen = (stat.st_mtime_ns, stat.st_size)
        try:
            text = self._path.read_text("utf-8-sig")
            rows = list(csv.DictReader(io.StringIO(text)))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._problem = f"{self._path.name} can't be read ({error}); its styles are not there, and the file is left as it is."
            return
        styles = (Style(name=r.get("name") or "", prompt=_text(r), negative_prompt=r.get("negative_prompt") or "") for r in rows)
        self._styles, self._problem = MappingProxyType({style.name: style for style in styles if style.name}), ""

    def _write(self, styles: Mapping[str, Style]) -> None:
        if self._problem:
            raise StorageError(f"Styles can't be saved: {self._path.name} can't be read, and it is not written over.")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((style.name, style.prompt, style.negative_prompt) for style in styles.values())
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._path, out.getvalue().encode("utf-8"))
        except OSError as error:
            raise StorageError(
                f"Styles could not be saved to {self._path.name}: {error.strerror or error}. Nothing was changed."
            ) from error
        self._styles, self._seen = MappingProxyType(dict(styles)), None


def _one_line_end(text: str) -> str:
    """`text` with "\\n" for every kind of line end: in the file another one would end the row for some readers."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text(row: Mapping[str, str | None]) -> str:
    """The prompt; very old files call the column text."""
    return row.get("prompt") or row.get("text") or ""
