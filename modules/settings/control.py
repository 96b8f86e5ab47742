"""How is a single setting described? Its option key, its words on the page, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How a setting is shown and checked. `key` is A1111's option name where that program has the setting, else our own in its style."""

    key: str
    label: str
    info: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] | None = None
    """The allowed values; a name in angle brackets (`<checkpoints>`) stands for what the catalogue holds."""
    host: bool = False
    multiple: bool = False


def setting(default: Any, key: str, label: str, info: str = "", **more: Any) -> Any:
    """A dataclass field that carries its `Control`."""
    return field(default=default, metadata={"control": Control(key=key, label=label, info=info, **more)})
