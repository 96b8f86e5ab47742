"""What the form shows when nobody has typed anything yet, where the Defaults page changed it.

Values by `elem_id`, one flat YAML file, written with the same care as the settings. Which controls there are only the page knows; a value
for a control that is gone is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from modules.domain.errors import InvalidRequest, StorageError
from modules.settings.atomic import atomic_write, remove_leftovers, set_aside
from modules.settings.safe_yaml import DamagedFileError, read_yaml, to_yaml

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

_COMMENT = "What the form of diffusion-webui shows at first, by elem_id. Written by the Defaults page."


class FormDefaults:
    """The saved defaults of the form's controls. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._problems: tuple[str, ...] = ()
        self._writable = True
        remove_leftovers(path)
        self._values: Mapping[str, JsonValue] = MappingProxyType(self._read())

    @property
    def values(self) -> Mapping[str, JsonValue]:
        """Value by elem_id, read-only; a control that is not in here has its built-in default."""
        return self._values

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about a file that could not be read."""
        return self._problems

    def save(self, values: Mapping[str, JsonValue]) -> None:
        """Replace all saved defaults; on the disk when this returns. Raises `InvalidRequest` and `StorageError`, nothing changed then."""
        kept = _plain(values)
        with self._lock:
            if not self._writable:
                raise StorageError(f"The defaults can't be saved: {self._path.name} can't be read, and it is not written over.")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(self._path, to_yaml(kept, _COMMENT))
            except DamagedFileError as error:
                raise InvalidRequest(f"The defaults are too long to be saved: {error}.") from error
            except OSError as error:
                raise StorageError(
                    f"The defaults could not be saved to {self._path.name}: {error.strerror or error}. Nothing was changed."
                ) from error
            self._values = MappingProxyType(kept)

    def clear(self) -> None:
        """Go back to the built-in defaults. Raises `StorageError`."""
        self.save({})

    def _read(self) -> dict[str, JsonValue]:
        try:
            document = read_yaml(self._path)
            if document is not None and not isinstance(document, dict):
                raise DamagedFileError("it does not hold values by name")
            return _plain(cast("dict[str, Any]", document or {}))
        except FileNotFoundError:
            return {}
        except (OSError, DamagedFileError, InvalidRequest) as error:
            reason = str(error)
        try:
            kept = set_aside(self._path)
        except OSError as error:
            self._writable = False
            self._problems = (
                f"{self._path.name} could not be read ({reason}) nor moved ({error.strerror}); the built-in defaults are in use.",
            )
            return {}
        self._problems = (f"{self._path.name} was damaged ({reason}) and is kept as {kept.name}; the built-in defaults are in use.",)
        return {}


def _plain(values: Mapping[str, Any]) -> dict[str, JsonValue]:
    """A deep copy that is certain to be plain JSON. Raises `InvalidRequest`."""
    if not all(isinstance(cast("object", name), str) for name in values):
        raise InvalidRequest("A default's name must be the elem_id of a control.")
    try:
        text = json.dumps(dict(values), allow_nan=False, ensure_ascii=False)
        text.encode("utf-8", "strict")
        return cast("dict[str, JsonValue]", json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"These defaults can't be saved: {error}.") from error
