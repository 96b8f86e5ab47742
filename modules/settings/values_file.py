"""A YAML file of plain values by name, written with the same care as the settings. What the names mean is its owner's business."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from modules.domain.errors import InvalidRequest, StorageError
from modules.settings.atomic import atomic_write, remove_leftovers, set_aside
from modules.settings.safe_yaml import DamagedFileError, read_yaml, to_yaml

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def write_values(path: Path, values: Mapping[str, Any], what: str, comment: str) -> None:
    """Write a YAML file whole, or leave it as it was. Raises `InvalidRequest` and `StorageError`, in which `what` names the values."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, to_yaml(values, comment))
    except DamagedFileError as error:
        raise InvalidRequest(f"The {what} are too long to be saved: {error}.") from error
    except OSError as error:
        raise StorageError(f"The {what} could not be saved to {path.name}: {error.strerror or error}. Nothing was changed.") from error


class ValuesFile:
    """Values of JSON's kinds by name, kept in memory and on the disk. Every method may be called from any thread.

    `what` is what people call the values ("defaults"), `comment` stands at the top of the file. `check` raises `DamagedFileError` for
    values, read from the file, that the owner can't use.
    """

    def __init__(self, path: Path, what: str, comment: str, check: Callable[[Mapping[str, JsonValue]], None] = lambda _: None) -> None:
        self._path, self._what, self._comment, self._check = path, what, comment, check
        self._lock = threading.Lock()
        self._problems: tuple[str, ...] = ()
        self._writable = True
        remove_leftovers(path)
        self._values: Mapping[str, JsonValue] = MappingProxyType(self._read())

    @property
    def values(self) -> Mapping[str, JsonValue]:
        """Value by name, read-only."""
        return self._values

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about a file that could not be read."""
        return self._problems

    def save(self, values: Mapping[str, JsonValue]) -> None:
        """Replace all values; on the disk when this returns. Raises `InvalidRequest` and `StorageError`, nothing changed then."""
        kept = self._plain(values)
        with self._lock:
            if not self._writable:
                raise StorageError(f"The {self._what} can't be saved: {self._path.name} can't be read, and it is not written over.")
            write_values(self._path, kept, self._what, self._comment)
            self._values = MappingProxyType(kept)

    def _read(self) -> dict[str, JsonValue]:
        try:
            document = read_yaml(self._path)
            if document is not None and not isinstance(document, dict):
                raise DamagedFileError("it does not hold values by name")
            values = self._plain(cast("dict[str, Any]", document or {}))
            self._check(values)
            return values
        except FileNotFoundError:
            return {}
        except (OSError, DamagedFileError, InvalidRequest) as error:
            reason = str(error)
        try:
            kept = set_aside(self._path)
        except OSError as error:
            self._writable = False
            self._problems = (
                f"{self._path.name} could not be read ({reason}) nor moved ({error.strerror}); its {self._what} are not in use.",
            )
            return {}
        self._problems = (f"{self._path.name} was damaged ({reason}) and is kept as {kept.name}; its {self._what} are not in use.",)
        return {}

    def _plain(self, values: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A deep copy that is certain to be plain JSON. Raises `InvalidRequest`."""
        if not all(isinstance(cast("object", name), str) for name in values):
            raise InvalidRequest(f"The {self._what} can't be saved: a name must be a text.")
        try:
            text = json.dumps(dict(values), allow_nan=False, ensure_ascii=False)
            text.encode("utf-8", "strict")
            return cast("dict[str, JsonValue]", json.loads(text))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"These {self._what} can't be saved: {error}.") from error
