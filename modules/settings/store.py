"""What is set right now, and how a change gets to the disk before anybody is told that it was made.

The file is YAML, nested by section, and holds only what differs from the defaults. A file that can't be read is kept beside its place and
reported; a value that doesn't fit is reported and left in the file. Knows nothing of the page and of A1111 but the option keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from modules.domain.errors import SettingsConflict, StorageError
from modules.settings.atomic import remove_leftovers, set_aside
from modules.settings.rows import rows
from modules.settings.safe_yaml import DamagedFileError, read_yaml
from modules.settings.schema import Settings
from modules.settings.values import checked_options, fitting_values, plain, value_of, with_values
from modules.settings.values_file import write_values

_COMMENT = "Settings of diffusion-webui. Only what differs from the default is written here."

_Signature = tuple[int, int, int]


class SettingsStore:
    """The live settings. Every method may be called from any thread; what `current` returned never changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._document: dict[str, Any] = {}
        self._settings = Settings()
        self._version = 0
        self._problems: tuple[str, ...] = ()
        self._signature: _Signature | None = None
        self._writable = True
        self._listeners: dict[object, Callable[[Settings], None]] = {}
        remove_leftovers(path)
        self._load()

    @property
    def current(self) -> Settings:
        """The settings at this moment, frozen."""
        return self._settings

    @property
    def version(self) -> int:
        """How often the settings have changed since the start; hand it to `update` to find out that somebody else was quicker."""
        return self._version

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the file: what could not be read and where it was kept."""
        return self._problems

    def as_options(self) -> dict[str, Any]:
        """All settings as A1111's flat options: option key to JSON value."""
        settings = self._settings
        return {row.control.key: plain(value_of(settings, row)) for row in rows()}

    def update(self, changes: Mapping[str, Any], *, expected_version: int | None = None, host: bool = False) -> Settings:
        """Set the options `changes` (A1111 option key to value), all or none, and return the settings that result.

        When this returns the change is on the disk. `host=True` is for the person at the machine only. Raises `InvalidRequest` (unknown
        key, wrong value, a host's setting), `SettingsConflict` (the version is not `expected_version` any more) and `StorageError`
        (nothing changed).
        """
        with self._lock:
            self._reload_if_edited()
            if expected_version is not None and expected_version != self._version:
                raise SettingsConflict("The settings were changed elsewhere since this page read them. Reload the page and try again.")
            accepted = checked_options(changes, host=host)
            settings = with_values(self._settings, accepted)
            if settings == self._settings:
                return settings
            self._save(settings, changed=set(accepted))
            self._settings = settings
            self._version += 1
            listeners = tuple(self._listeners.values())
        for listener in listeners:
            listener(settings)
        return settings

    def subscribe(self, listener: Callable[[Settings], None]) -> Callable[[], None]:
        """Call `listener` with the new settings after every change, in the thread that made it. Returns the way out."""
        token = object()
        with self._lock:
            self._listeners[token] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(token, None)

        return unsubscribe

    def _reload_if_edited(self) -> None:
        """Take in what the host wrote into the file meanwhile, so that saving one setting does not undo that."""
        if _signature(self._path) == self._signature:
            return
        before = self._settings
        self._load()
        if self._settings != before:
            self._version += 1

    def _load(self) -> None:
        self._document, self._problems, self._writable = self._read()
        self._signature = _signature(self._path)
        values, wrong = fitting_values(self._document)
        name = self._path.name
        problems = [f"{name}, {row.section}.{row.name}: {problem} The default is in use." for row, problem in wrong]
        strange = [f"{name}: {key} is not a setting that this version knows; it is left alone." for key in _unknown(self._document)]
        self._problems = (*self._problems, *problems, *strange)
        self._settings = with_values(Settings(), values)

    def _read(self) -> tuple[dict[str, Any], tuple[str, ...], bool]:
        """The file's content, what to tell the user, and whether it may be written over."""
        try:
            document = read_yaml(self._path)
            if document is not None and not isinstance(document, dict):
                raise DamagedFileError("it does not hold sections of settings")
            return cast("dict[str, Any]", document or {}), (), True
        except FileNotFoundError:
            return {}, (), True
        except (OSError, DamagedFileError) as error:
            reason = str(error)
        try:
            kept = set_aside(self._path)
        except OSError as error:
            told = f"{self._path.name} could neither be read ({reason}) nor moved ({error.strerror}); the defaults are in use, unsaved."
            return {}, (told,), False
        return {}, (f"{self._path.name} was damaged ({reason}) and is kept as {kept.name}; the defaults are in use.",), True

    def _save(self, settings: Settings, changed: set[tuple[str, str]]) -> None:
        if not self._writable:
            raise StorageError(f"The settings can't be saved: {self._path.name} can't be read. Repair or move it, then restart.")
        document = _document(settings, self._document, changed)
        write_values(self._path, document, "settings", _COMMENT)
        self._document = document
        self._signature = _signature(self._path)


def _document(settings: Settings, old: Mapping[str, Any], changed: set[tuple[str, str]]) -> dict[str, Any]:
    """What the file shall hold: our values that are not defaults, and everything in `old` that is not ours or never fitted."""
    document: dict[str, Any] = {name: dict(cast("dict[str, Any]", part)) if isinstance(part, dict) else part for name, part in old.items()}
    for row in rows():
        value = value_of(settings, row)
        section = document.get(row.section)
        held = cast("dict[str, Any]", section) if isinstance(section, dict) else {}
        if value != row.default:
            document[row.section] = {**held, row.name: plain(value)}
        elif (row.section, row.name) in changed and row.name in held:
            document[row.section] = {name: other for name, other in held.items() if name != row.name}
    return {name: part for name, part in document.items() if part != {}}


def _unknown(document: Mapping[str, Any]) -> list[str]:
    known: dict[str, set[str]] = {}
    for row in rows():
        known.setdefault(row.section, set()).add(row.name)
    names: list[str] = []
    for section, part in document.items():
        if section not in known or not isinstance(part, dict):
            names.append(str(section))
        else:
            names.extend(f"{section}.{name}" for name in cast("dict[str, Any]", part) if name not in known[section])
    return names


def _signature(path: Path) -> _Signature | None:
    """What changes when somebody writes the file; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
