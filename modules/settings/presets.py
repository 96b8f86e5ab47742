"""The user's presets: whole forms under names of their own, for each tab."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.domain.errors import InvalidRequest
from modules.settings.safe_yaml import DamagedFileError
from modules.settings.values_file import JsonValue, ValuesFile

LONGEST_NAME = 100


class FormPresets:
    """Values by elem_id, by preset, by tab. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        comment = "Forms of diffusion-webui by tab and name: what is not at its default, by elem_id. Written by the page."
        self._file = ValuesFile(path, "presets", comment, _check)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about a file that could not be read."""
        return self._file.problems

    def names(self, tab: str) -> list[str]:
        """The tab's presets in the order in which they were first saved."""
        return list(self._of(tab))

    def find(self, tab: str, name: str) -> Mapping[str, Any]:
        """A preset's values. Raises `InvalidRequest` where there is none of this name."""
        if not name:
            raise InvalidRequest("Choose a preset first. There is none yet? Type a name and save the form.")
        found = self._of(tab).get(name)
        if not isinstance(found, dict):
            raise InvalidRequest(f"There is no preset called {name!r}: choose one of the list, or save the form under that name first.")
        return found

    def save(self, tab: str, name: str, values: Mapping[str, JsonValue]) -> None:
        """Add a preset, or replace the one of its name; on the disk when this returns. Raises `InvalidRequest` and `StorageError`."""
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise InvalidRequest(f"A preset needs a name of one line, up to {LONGEST_NAME} characters: type it into Preset.")
        with self._lock:
            self._file.save({**self._file.values, tab: {**self._of(tab), name: dict(values)}})

    def delete(self, tab: str, name: str) -> None:
        """Forget a preset. Raises `InvalidRequest` where there is none of this name, and `StorageError`."""
        with self._lock:
            self.find(tab, name)
            left = {each: values for each, values in self._of(tab).items() if each != name}
            self._file.save({**self._file.values, tab: left})

    def _of(self, tab: str) -> dict[str, JsonValue]:
        presets = self._file.values.get(tab)
        return presets if isinstance(presets, dict) else {}


def _check(values: Mapping[str, JsonValue]) -> None:
    for tab, presets in values.items():
        if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
            raise DamagedFileError(f"{tab} does not hold presets by name")
