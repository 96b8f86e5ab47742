"""A prompt with choices in it: `a {red|green|2::blue} {cat|dog} in __place__`. One drawn by chance, or every one there is.

The grammar is that of the "Dynamic Prompts" extension: `{2$$a|b|c}` takes two, `{1-2$$ and $$a|b|c}` one or two with " and " between
them, `0.5::a` is half as likely, `__animals/wild*__` is a line of any such file among the wildcards. Knows neither files nor pictures.
"""

from __future__ import annotations

import heapq
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

Option = TypeVar("Option")

Lines = Callable[[str], Sequence[str]]
"""The lines of a wildcard by its name or pattern; it raises where there is none."""


class ChoicesUnreadable(ValueError):
    """A prompt whose choices make no sense; the text is a sentence for the user."""


MAX_DEPTH = 12
"""How deep choices and wildcards may lie in one another; beyond this one of them surely holds itself."""

MAX_PARTS = 400
"""How many parts a prompt may have of which every combination is asked for."""

SEPARATOR = ", "

_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})::")
_HOW_MANY = re.compile(r"\s*(\d{1,3})?\s*(-)?\s*(\d{1,3})?\s*\$\$")
_WILDCARD = re.compile(r"__([\w./*-]+?)__")


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A line of the wildcards of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """From `low` to `high` of the options, each with its weight, joined by `separator`."""

    options: tuple[tuple[float, Template], ...]
    low: int = 1
    high: int = 1
    separator: str = SEPARATOR


Template = tuple["str | Wildcard | Choice", ...]
"""The parts of a prompt, one after the other."""


def parse(text: str) -> Template:
    """Read a prompt's choices. Raises `ChoicesUnreadable` for a brace that is not closed, or too many in one another."""
    parts, end = _sequence(text, 0, 0)
    if end < len(text):
        raise ChoicesUnreadable(f"a }} too many in {_near(text, end)}. Write \\}} for the character itself.")
    return parts


def drawn(template: Template, rng: random.Random, lines: Lines, depth: int = 0) -> str:
    """One prompt by chance. Raises `ChoicesUnreadable` for wildcards that hold themselves, and what `lines` raises."""
    return "".join(part if isinstance(part, str) else _drawn_part(part, rng, lines, depth) for part in template)


def every(template: Template, lines: Lines, depth: int = 0) -> Iterator[str]:
    """Every prompt there is, the last choice changing the quickest. Raises as `drawn` does, and for a prompt of too many parts."""
    if len(template) > MAX_PARTS:
        raise ChoicesUnreadable(f"{len(template)} parts are too many for every combination; {MAX_PARTS} are the most.")
    if not template:
        yield ""
        return
    for head in _every_part(template[0], lines, depth):
        for rest in every(template[1:], lines, depth):
            yield head + rest


def _drawn_part(part: Wildcard | Choice, rng: random.Random, lines: Lines, depth: int) -> str:
    if isinstance(part, Wildcard):
        chosen = _picked([_weighed(line) for line in _lines_of(part, lines, depth)], 1, rng)[0]
        return drawn(parse(chosen), rng, lines, depth + 1).strip()
    most = min(part.high, len(part.options))
    count = rng.randint(min(part.low, most), most)
    return _together([drawn(option, rng, lines, depth) for option in _picked(part.options, count, rng)], part.separator)


def _picked(options: Sequence[tuple[float, Option]], count: int, rng: random.Random) -> list[Option]:
    """`count` of the options, none of them twice, the heavier ones rather.

    The order of u ** (1 / weight) is that of drawing one after the other from those that are left (Efraimidis and Spirakis 2006).
    """
    keys = [_key(weight, 1.0 - rng.random()) for weight, _ in options]
    best = heapq.nlargest(count, range(len(options)), key=lambda at: keys[at])
    return [options[at][1] for at in best]


def _key(weight: float, chance: float) -> tuple[bool, float]:
    """What options are ordered by; `chance` is in (0, 1]. Those without weight come after all others."""
    return (weight > 0, math.log(chance) / weight if weight > 0 else chance)


def _every_part(part: str | Wildcard | Choice, lines: Lines, depth: int) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Wildcard):
        for line in _lines_of(part, lines, depth):
            yield from (text.strip() for text in every(parse(_weighed(line)[1]), lines, depth + 1))
    else:
        most = min(part.high, len(part.options))
        for count in range(min(part.low, most), most + 1):
            for options in combinations((option for _, option in part.options), count):
                yield from (_together(texts, part.separator) for texts in _every_of(options, lines, depth))


def _every_of(options: Sequence[Template], lines: Lines, depth: int) -> Iterator[list[str]]:
    if not options:
        yield []
        return
    for head in every(options[0], lines, depth):
        for rest in _every_of(options[1:], lines, depth):
            yield [head, *rest]


def _together(texts: Sequence[str], separator: str) -> str:
    """One text as it is, blanks and all (`{|very }big`); several without the blanks around them."""
    return texts[0] if len(texts) == 1 else separator.join(text.strip() for text in texts)


def _lines_of(wildcard: Wildcard, lines: Lines, depth: int) -> Sequence[str]:
    if depth >= MAX_DEPTH:
        raise ChoicesUnreadable(f"__{wildcard.name}__ leads back to itself.")
    return lines(wildcard.name)


def _weighed(line: str) -> tuple[float, str]:
    """A wildcard's line and its weight. It is read only once it was picked: files may have many lines."""
    weight = _WEIGHT.match(line)
    return (float(weight[1]), line[weight.end() :]) if weight else (1.0, line)


def _sequence(text: str, at: int, depth: int) -> tuple[Template, int]:
    """The parts from `at` on, and where they end: at the text's end, or before a `|` or `}` of the choice that they lie in."""
    if depth > MAX_DEPTH:
        raise ChoicesUnreadable(f"more than {MAX_DEPTH} braces in one another.")
    parts: list[str | Wildcard | Choice] = []
    plain = ""
    while at < len(text) and text[at] != "}" and not (depth and text[at] == "|"):
        wildcard = _WILDCARD.match(text, at)
        if text[at] == "\\" and text[at + 1 : at + 2] in ("{", "}"):
            plain, at = plain + text[at + 1], at + 2
        elif text[at] != "{" and wildcard is None:
            plain, at = plain + text[at], at + 1
        else:
            parts += [plain] if plain else []
            plain = ""
            if wildcard is not None:
                part, at = Wildcard(wildcard[1]), wildcard.end()
            else:
                part, at = _choice(text, at + 1, depth + 1)
            parts.append(part)
    return (*parts, *((plain,) if plain else ())), at


def _choice(text: str, at: int, depth: int) -> tuple[Choice, int]:
    """The choice whose brace was opened before `at`, and where it ends."""
    start = at
    low, high, separator, at = _head(text, at)
    options: list[tuple[float, Template]] = []
    while True:
        weight = _WEIGHT.match(text, at)
        option, at = _sequence(text, weight.end() if weight else at, depth)
        options.append((float(weight[1]) if weight else 1.0, option))
        if at >= len(text):
            raise ChoicesUnreadable(f"a {{ is not closed at {_near(text, start - 1)}. Write \\{{ for the character itself.")
        at += 1
        if text[at - 1] == "}":
            break
    return Choice(tuple(options), low, len(options) if high is None else high, separator), at


def _head(text: str, at: int) -> tuple[int, int | None, str, int]:
    """(least, most or None for all, separator, where the options begin) of what stands before the options."""
    found = _HOW_MANY.match(text, at)
    if found is None or not (found[1] or found[3]):
        return 1, 1, SEPARATOR, at
    low = int(found[1] or 1)
    high = int(found[3]) if found[3] else None if found[2] else low
    if high is not None and high < low:
        low, high = high, low
    end = found.end()
    second, option = text.find("$$", end), min((i for i in (text.find("|", end), text.find("}", end)) if i >= 0), default=len(text))
    if 0 <= second < option:
        return low, high, text[end:second], second + 2
    return low, high, SEPARATOR, end


def _near(text: str, at: int) -> str:
    return repr(text[at : at + 30])
