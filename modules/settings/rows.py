"""Which settings are there? Each one with its place, as the Settings tab, the file and A1111's option keys go through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from typing import Any

from modules.settings.control import Control
from modules.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting with its place: `section` and `name` are attribute names, `default` its value when nobody set it."""

    section: str
    section_title: str
    name: str
    type: type
    default: Any
    control: Control


def rows() -> Iterator[SettingRow]:
    """Every setting in the order of the Settings tab."""
    blank = Settings()
    for section in fields(Settings):
        group = getattr(blank, section.name)
        for item in fields(group):
            yield _row(section.name, group, item)


def row_by_key(key: str) -> SettingRow:
    """The setting with A1111's option key `key`. Raises KeyError."""
    return _BY_KEY[key]


def _row(section: str, group: Any, item: Field[Any]) -> SettingRow:
    default = getattr(group, item.name)
    title = (type(group).__doc__ or section).strip()
    return SettingRow(
        section=section, section_title=title, name=item.name, type=type(default), default=default, control=item.metadata["control"]
    )


_BY_KEY = {row.control.key: row for row in rows()}
