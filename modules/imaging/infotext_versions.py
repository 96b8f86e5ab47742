"""What did the version that wrote an infotext do otherwise than today's? A1111's rules of that kind, by its `Version` field.

Texts without a version, and those of programs that never did otherwise (this one among them), have no rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Version = tuple[int, int, int, int]
"""Three numbers and how many commits came after them; -1 for a release candidate."""

_VERSION = re.compile(r"(?:f\d+\.\d+\.\d+)?v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-(\d{1,9})(?=-|$)|(-?rc)|(?![.\d]))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Rule:
    before: Version
    key: str
    applies: Callable[[Mapping[str, str]], bool]
    value: str = "True"


_PLAIN_SAMPLERS = frozenset(
    ("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM++ 2S a", "DPM2", "DPM2 a"),
)
"""Without the schedule's name behind them these drew with the model's plain schedule before A1111 1.9, and with one of their own since."""


def had_no_schedule(found: Mapping[str, str]) -> bool:
    """Whether an infotext gives one of the samplers that drew with another schedule before 1.9, and no schedule."""
    return found.get("Sampler") in _PLAIN_SAMPLERS and found.get("Schedule type", "Automatic") == "Automatic"


def _second_had_no_schedule(found: Mapping[str, str]) -> bool:
    given = (found.get("Schedule type", "Automatic"), found.get("Hires schedule type", "Use same scheduler"))
    return found.get("Hires sampler") in _PLAIN_SAMPLERS and given == ("Automatic", "Use same scheduler")


_RULES = (
    _Rule((1, 9, 0, -1), "Schedule type", had_no_schedule, "Uniform"),
    _Rule((1, 9, 0, -1), "Hires schedule type", _second_had_no_schedule, "Uniform"),
    _Rule((1, 6, 0, 0), "Old prompt editing timelines", lambda found: "[" in found.get("Prompt", "")),
    _Rule((1, 6, 0, 0), "Pad conds v0", lambda found: found.get("Sampler") in ("DDIM", "PLMS")),
    _Rule((1, 7, 0, 225), "Downcast alphas_cumprod", lambda found: True),
    _Rule((1, 8, 0, 0), "Refiner switch by sampling steps", lambda found: bool(found.get("Refiner"))),
)


def version_of(text: str) -> Version | None:
    """A1111's version in a `Version` field: "v1.5.2", "1.7.0-225-g0a07f5c" or, from Forge, "f2.0.1v1.10.1-previous-…". None for others."""
    match = _VERSION.match(text.strip())
    if match is None:
        return None
    major, minor, patch, commits, candidate = match.groups()
    return int(major), int(minor), int(patch), -1 if candidate else int(commits or 0)


def implied_fields(found: Mapping[str, str]) -> dict[str, str]:
    """The fields that a text of this version would have today, by key."""
    version = version_of(found.get("Version", ""))
    if version is None:
        return {}
    return {rule.key: rule.value for rule in _RULES if version < rule.before and rule.applies(found)}
