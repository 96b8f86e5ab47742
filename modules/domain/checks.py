"""How a value says that it can't be: a condition and the sentence for the user, as `InvalidRequest`."""

from __future__ import annotations

import math

from modules.domain.errors import InvalidRequest


def check(condition: bool, message: str) -> None:
    """Raise `InvalidRequest` with `message` unless the condition holds."""
    if not condition:
        raise InvalidRequest(message)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `InvalidRequest` unless `value`, called `name` on the page, is a number from `low` to `high`."""
    check(math.isfinite(value) and low <= value <= high, f"{name} must be from {low:g} to {high:g}, not {value:g}.")
