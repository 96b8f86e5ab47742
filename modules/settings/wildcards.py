"""The user's wildcards: text files whose lines stand in for `__name__` in a dynamic prompt."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from modules.domain.errors import InvalidRequest

MAX_BYTES = 16 << 20
_NAMED = 12
"""How many names a message lists."""


class WildcardFolder:
    """The `.txt` files below a folder. They are read when they are asked for, so an edit counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self, pattern: str) -> Sequence[str]:
        """All lines of the files that a name or a pattern with `*` means, in any letter case; empty ones and `# comments` left out.

        Raises `InvalidRequest` where there is none.
        """
        wanted, files = pattern.casefold(), self._files()
        chosen = [path for name, path in sorted(files.items()) if fnmatchcase(name.casefold(), wanted)]
        found = [line for path in chosen for line in _lines(path)]
        if not found:
            known = ", ".join(sorted(files)[:_NAMED]) or "none"
            state = "has no lines" if chosen else "is not there"
            raise InvalidRequest(f"The wildcard __{pattern[:60]}__ {state}: put wildcards/{pattern[:60]}.txt there. There are: {known}.")
        return found

    def names(self) -> list[str]:
        """What can stand between the underscores: every file's path below the folder without its ending, sorted."""
        return sorted(self._files())

    def _files(self) -> dict[str, Path]:
        """By name: the path below the folder without the ending, with `/` between folders."""
        if not self._folder.is_dir():
            return {}
        return {path.relative_to(self._folder).with_suffix("").as_posix(): path for path in self._folder.rglob("*.txt") if path.is_file()}


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise InvalidRequest(f"{path.name} can't be read ({error.strerror}).") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
