"""What does a list of values say? Commas with CSV's quotation marks, and A1111's ranges: `1-5`, `1-10 (+2)`, `10-5 (-3)`, `0-1 [5]`."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re

from modules.domain.errors import InvalidRequest

MAX_VALUES = 1000

_NUMBER = r"[+-]?\s?\d+(?:\.\d*)?"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d+)\s*\])?")


_AFTER_QUOTE = re.compile(r'"[ \t]+(?=,|\n|$)')


def split_values(text: str, *, empty: bool = False) -> list[str]:
    """The values of a text, blanks around them gone; empty ones count only where `empty`, and not alone. Raises `InvalidRequest`."""
    try:
        # CSV knows no blanks behind a closing quotation mark; people type them
        rows = csv.reader(io.StringIO(_AFTER_QUOTE.sub('"', text)), skipinitialspace=True, strict=True)
        found = [value.strip() for value in itertools.chain.from_iterable(rows)]
    except csv.Error as error:
        raise InvalidRequest(f"a quotation mark is missing or in the wrong place ({error}).") from error
    return [value for value in found if value or (empty and text.strip())]


def join_values(values: list[str]) -> str:
    """A text from which `split_values` makes these values again."""
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue().strip()


def whole_numbers(values: list[str]) -> list[int]:
    """The numbers, ranges written out. Raises `InvalidRequest`."""
    return [_exact(value) if _is_one(value) else int(number) for value in values for number in _written_out(value, whole=True)]


def numbers(values: list[str]) -> list[float]:
    """The same for numbers with a fraction."""
    return [number for value in values for number in _written_out(value, whole=False)]


def _written_out(text: str, *, whole: bool) -> list[float]:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return [_number(text, whole=whole)]
    first, last = (_number(part, whole=whole) for part in match.group(1, 2))
    if match.group(4):
        return _spread(first, last, int(match.group(4)), whole=whole)
    step = _number(match.group(3), whole=whole) if match.group(3) else math.copysign(1, last - first)
    if step == 0 or (last - first) * step < 0:
        raise InvalidRequest(f"{text!r} never gets from {first:g} to {last:g}: its step leads the other way.")
    # what is a hair short of the end is the end: steps like 0.1 are not exact
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > MAX_VALUES:
        raise InvalidRequest(f"{text!r} is {count} values; {MAX_VALUES} are the most.")
    return [round(first + index * step, 10) for index in range(count)]


def _spread(first: float, last: float, count: int, *, whole: bool) -> list[float]:
    if not 1 <= count <= MAX_VALUES:
        raise InvalidRequest(f"[{count}]: from 1 to {MAX_VALUES} values can be spread.")
    spread = [round(first + (last - first) * index / max(1, count - 1), 10) for index in range(count)]
    return [float(int(value)) for value in spread] if whole else spread


def _number(text: str, *, whole: bool) -> float:
    plain = text.replace(" ", "")
    try:
        value = float(int(plain) if whole else plain)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        kind = "a whole number" if whole else "a number"
        raise InvalidRequest(f"{text[:40]!r} is not {kind} or a range of them, like 1-5, 1-10 (+2) or 1-10 [5].")
    return value


def _is_one(text: str) -> bool:
    return _RANGE.fullmatch(text.strip()) is None


def _exact(text: str) -> int:
    """A seed may be longer than a float is exact."""
    return int(text.replace(" ", ""))
