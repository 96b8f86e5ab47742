"""Which values is a script run with? What the page or a client gives, checked against the controls, what is missing at its default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from modules.domain.errors import InvalidRequest
from modules.scripts.script import Control, Script

MAX_TEXT = 1_000_000


def checked_values(script: Script, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every control of the script, as plain JSON. Raises `InvalidRequest` with the control's label in the sentence."""
    return {control.name: _checked(control, given.get(control.name)) for control in script.controls}


def by_position(script: Script, arguments: Sequence[Any]) -> dict[str, Any]:
    """The values of a client's `script_args`: what is missing is at its default, what is too much is cut off, as in A1111."""
    return checked_values(script, {control.name: value for control, value in zip(script.controls, arguments, strict=False)})


def _checked(control: Control, value: Any) -> Any:
    if value is None or control.kind == "unused":
        return list(control.default) if control.multiple else control.default
    if control.kind == "checkbox":
        return _flag(control, value)
    if control.kind in ("number", "slider"):
        return _number(control, value)
    if control.multiple:
        items = cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value] if value != "" else []
        return [_choice(control, item) if control.kind == "checkboxes" else _text(control, item) for item in items]
    return _choice(control, value) if control.choices and not control.choices[0].startswith("<") else _text(control, value)


def _flag(control: Control, value: Any) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False}
    word = str(value).strip().lower()
    if word not in words:
        raise InvalidRequest(f"{control.label} must be true or false, not {_shown(value)}.")
    return words[word]


def _number(control: Control, value: Any) -> int | float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{control.label} must be a number, not {_shown(value)}.")
    low, high = control.low, control.high
    if (low is not None and number < low) or (high is not None and number > high):
        raise InvalidRequest(f"{control.label} must be from {low:g} to {high:g}, not {number:g}.")
    if isinstance(control.default, int):
        if number != int(number):
            raise InvalidRequest(f"{control.label} must be a whole number, not {number:g}.")
        return int(number)
    return number


def _text(control: Control, value: Any) -> str:
    text = str(value)
    if isinstance(value, (dict, list)) or len(text) > MAX_TEXT:
        raise InvalidRequest(f"{control.label} must be a text of at most {MAX_TEXT} characters.")
    return text


def _choice(control: Control, value: Any) -> str:
    if control.index and isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(control.choices):
            return control.choices[value]
    else:
        wanted = str(value).strip().casefold()
        for choice in control.choices:
            if choice.casefold() == wanted:
                return choice
    raise InvalidRequest(f"{control.label} must be one of {', '.join(control.choices)}, not {_shown(value)}.")


def _shown(value: Any) -> str:
    return repr(str(value)[:40])
