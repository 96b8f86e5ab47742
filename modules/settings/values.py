"""Whether a value fits a setting, and the same settings as plain JSON.

Clients send numbers as strings and integers as floats; what is unambiguous is accepted, everything else is refused with a sentence.
It knows neither files nor the catalogue: names of checkpoints are checked where they are used.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, cast

from modules.domain.errors import InvalidRequest
from modules.settings.rows import SettingRow, row_by_key, rows
from modules.settings.schema import Settings

MAX_TEXT = 4000

_WORDS = {"true": True, "false": False, "on": True, "off": False, "yes": True, "no": False, "1": True, "0": False}


def coerce(row: SettingRow, value: Any) -> Any:
    """`value` as the setting's own type, checked against its range and choices. Raises `InvalidRequest`."""
    if row.type is bool:
        return _to_bool(row, value)
    if row.type is int or row.type is float:
        return _to_number(row, value)
    if row.type is tuple:
        return tuple(_to_choice(row, item) for item in _items(row, value))
    return _to_choice(row, value)


def value_of(settings: Settings, row: SettingRow) -> Any:
    """What `settings` holds for this row."""
    return getattr(getattr(settings, row.section), row.name)


def with_values(settings: Settings, changes: Mapping[tuple[str, str], Any]) -> Settings:
    """A copy of `settings` with the (section, name) pairs of `changes` set to values that were already coerced."""
    sections: dict[str, Any] = {}
    for section in fields(Settings):
        mine = {name: value for (owner, name), value in changes.items() if owner == section.name}
        if mine:
            sections[section.name] = replace(getattr(settings, section.name), **mine)
    return replace(settings, **sections)


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """A copy of `settings` with A1111's option keys set, for one job say. Raises `InvalidRequest` as `checked_options` does."""
    return with_values(settings, checked_options(options, host=False)) if options else settings


def checked_options(options: Mapping[str, Any], *, host: bool) -> dict[tuple[str, str], Any]:
    """The options by (section, name), each with a value of the right type.

    Raises `InvalidRequest` for an unknown key, a value that does not fit and, unless `host`, for what only the person at the machine may
    set.
    """
    accepted: dict[tuple[str, str], Any] = {}
    for key, value in options.items():
        row = _row(key)
        if row.control.host and not host:
            raise InvalidRequest(f'"{row.control.label}" can only be changed in config.yaml or on the command line, at the machine itself.')
        accepted[row.section, row.name] = coerce(row, value)
    return accepted


def _row(key: str) -> SettingRow:
    try:
        return row_by_key(key)
    except KeyError:
        raise InvalidRequest(f"There is no setting called {key!r}.") from None


def settings_to_json(settings: Settings) -> dict[str, dict[str, Any]]:
    """All values, defaults too, as plain JSON: a stored snapshot must not change when a default does."""
    document: dict[str, dict[str, Any]] = {}
    for row in rows():
        document.setdefault(row.section, {})[row.name] = plain(value_of(settings, row))
    return document


def settings_from_json(document: Mapping[str, Any]) -> Settings:
    """The settings of a snapshot that this or another version wrote: what is missing, unknown or no longer valid is the default."""
    changes, _ = fitting_values(document)
    return with_values(Settings(), changes)


def fitting_values(document: Mapping[str, Any]) -> tuple[dict[tuple[str, str], Any], list[tuple[SettingRow, str]]]:
    """The values of a nested document that fit their setting, by (section, name), and for each of the others what is wrong with it."""
    good: dict[tuple[str, str], Any] = {}
    bad: list[tuple[SettingRow, str]] = []
    for row, value in _known_values(document):
        checked, problem = _try(row, value)
        if problem is None:
            good[row.section, row.name] = checked
        else:
            bad.append((row, problem))
    return good, bad


def _known_values(document: Mapping[str, Any]) -> Iterator[tuple[SettingRow, Any]]:
    """Each setting that a nested document has a value for, with that value as it stands there."""
    for row in rows():
        section = document.get(row.section)
        if isinstance(section, dict) and row.name in section:
            yield row, cast("dict[str, Any]", section)[row.name]


def plain(value: Any) -> Any:
    """A setting's value as JSON and YAML write it: tuples become lists."""
    return list(value) if isinstance(value, tuple) else value


def _try(row: SettingRow, value: Any) -> tuple[Any, str | None]:
    try:
        return coerce(row, value), None
    except InvalidRequest as error:
        return None, str(error)


def _to_bool(row: SettingRow, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, (str, int, float)) else ""
    if word not in _WORDS:
        raise InvalidRequest(f'"{row.control.label}" must be true or false, not {_shown(value)}.')
    return _WORDS[word]


def _to_number(row: SettingRow, value: Any) -> int | float:
    control = row.control
    kind = "a whole number" if row.type is int else "a number"
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number: int | float = value if isinstance(value, int) else float(value)
        if not math.isfinite(number) or (row.type is int and number != int(number)):
            raise ValueError
    except (ValueError, OverflowError):
        raise InvalidRequest(f'"{control.label}" must be {kind}, not {_shown(value)}.') from None
    if (control.low is not None and number < control.low) or (control.high is not None and number > control.high):
        raise InvalidRequest(f'"{control.label}" must be {_range(control.low, control.high)}, not {_shown(value)}.')
    return int(number) if row.type is int else float(number)


def _items(row: SettingRow, value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, (list, tuple)):
        return list(cast("list[Any]", value))
    raise InvalidRequest(f'"{row.control.label}" must be a list of names, not {_shown(value)}.')


def _to_choice(row: SettingRow, value: Any) -> str:
    label = row.control.label
    if not isinstance(value, str):
        raise InvalidRequest(f'"{label}" must be a text, not {_shown(value)}.')
    if len(value) > MAX_TEXT or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise InvalidRequest(f'"{label}" must be at most {MAX_TEXT} printable characters.')
    choices = _choices(row)
    if choices is None or value in choices:
        return value
    same = [choice for choice in choices if choice.casefold() == value.strip().casefold()]
    if not same:
        raise InvalidRequest(f'"{label}" must be one of {", ".join(choices)}, not {_shown(value)}.')
    return same[0]


def _choices(row: SettingRow) -> tuple[str, ...] | None:
    """The names that a setting accepts, or None where only the catalogue could tell."""
    choices = row.control.choices
    if choices == ("<settings>",):
        return tuple(other.control.key for other in rows())
    return None if choices is None or any(choice.startswith("<") for choice in choices) else choices


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
