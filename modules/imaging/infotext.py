"""What does the text inside a picture say? A1111's infotext, written and read back. Knows no samplers, models or files.

    <prompt, may have several lines>
    Negative prompt: <negative prompt>
    Steps: 20, Sampler: Euler a, …

Reading is one pass over the text, so pasted megabytes can't hang the program.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping

_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"([\w \-/]+)(:\s*)?")
_SIZE = re.compile(r"(\d+)x(\d+)")
_SIDE_DIGITS = 9
_BRACKET = re.compile(r"(?<!\\)[(\[]")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MIN_FIELDS = 3
"""A last line with fewer fields than this is part of the prompt."""

_SURE = re.compile(
    r"Sampler|Schedule type|CFG scale|Model hash|VAE hash|Denoising strength|Clip skip|ENSD|RNG|Init image hash"
    r"|Variation seed(?: strength)?|Seed resize from|First pass size|Hires (?:upscaler?|resize|steps)|Lora hashes|TI hashes|Postprocess .+"
)
_COUNTED = ("Steps", "Seed")
"""A line of fields has one that A1111 writes: of `_SURE`, or of these with a number. Prompts have colons too ("(red:1.2)", "mood: dark"),
and other keys, such as Size or Model, are words that a prompt may begin a phrase with."""

DEFAULTS = (
    ("Clip skip", "1"),
    ("Hires resize-1", "0"),
    ("Hires resize-2", "0"),
    ("Hires sampler", "Use same sampler"),
    ("Hires schedule type", "Use same scheduler"),
    ("Hires checkpoint", "Use same checkpoint"),
    ("Hires prompt", ""),
    ("Hires negative prompt", ""),
    ("Mask mode", "Inpaint masked"),
    ("Masked content", "original"),
    ("Inpaint area", "Whole picture"),
    ("Masked area padding", "32"),
    ("RNG", "GPU"),
    ("Schedule type", "Automatic"),
    ("Schedule max sigma", "0"),
    ("Schedule min sigma", "0"),
    ("Schedule rho", "0"),
    ("VAE Encoder", "Full"),
    ("VAE Decoder", "Full"),
    ("FP8 weight", "Disable"),
    ("Refiner switch by sampling steps", "False"),
)
"""What a key means that is absent: infotexts leave out what is at its default."""


def format_infotext(prompt: str, negative: str, fields: Iterable[tuple[str, object]]) -> str:
    """The infotext with `fields` in the order given; those that are None are left out. A negative prompt that is empty has no line."""
    line = ", ".join(key if key == str(value) else f"{key}: {quote(str(value))}" for key, value in fields if value is not None)
    return "\n".join((prompt, *([f"{_NEGATIVE} {negative}"] if negative else []), line)).strip()


def quote(value: str) -> str:
    """The value as a JSON string where it could be mistaken for the end of a field or for a string, else as it is."""
    plain = value == value.strip() and value[:1] != '"' and not any(mark in value for mark in ",:\n\r")
    return value if plain else json.dumps(value, ensure_ascii=False)


def unquote(value: str) -> str:
    """The inverse of `quote`; what only looks like a JSON string stays as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def parse_infotext(text: str, *, defaults: bool = True) -> dict[str, str]:
    """The fields by name, with "Prompt" and "Negative prompt"; a value like 512x768 becomes two, "Size-1" and "Size-2".

    Any text is an infotext: where the last line holds no fields that A1111 writes, all of it is the prompt. `defaults` adds what absent
    keys mean and turns the fields of old versions into today's.
    """
    lines = text.strip().split("\n")
    pairs = list(_fields(lines[-1]))
    if len(pairs) >= _MIN_FIELDS and any(_is_sure(key, value) for key, value in pairs):
        lines.pop()
    else:
        pairs = []
    prompt, negative = _prompts(lines)
    found: dict[str, str] = {}
    for key, quoted in pairs:
        value = unquote(quoted) if quoted.startswith('"') else quoted
        size = _SIZE.fullmatch(value) if "x" in value else None
        if size:
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = value
    found["Prompt"], found["Negative prompt"] = prompt, negative
    return _with_defaults(found) if defaults else found


def _is_sure(key: str, value: str) -> bool:
    return _SURE.fullmatch(key) is not None or (key in _COUNTED and value.strip().removeprefix("-").isdecimal())


def _prompts(lines: list[str]) -> tuple[str, str]:
    positive: list[str] = []
    negative: list[str] = []
    target = positive
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            target = negative
            line = line[len(_NEGATIVE) :].strip()
        # Empty lines at the start go, as they always have.
        if target or line:
            target.append(line)
    return "\n".join(positive), "\n".join(negative)


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """The (key, raw value) pairs of a line: a key is at least two characters of words, blanks, - and / in front of a colon."""
    position, closed, length = 0, True, len(line)
    while match := _KEY.search(line, position):
        position = match.end()
        key = match.group(1).lstrip(" -/")
        if len(key) < 2 or not match.group(2):
            continue
        start, end = position, -1
        if closed and line.startswith('"', start):
            string = _STRING.match(line, start)
            # What never closes here closes nowhere further on.
            closed, end = string is not None, string.end() if string else -1
        if end < 0 or (end < length and line[end] != ","):
            comma = line.find(",", start)
            end = comma if comma >= 0 else length
        yield key, line[start:end]
        position = end + 1


def _with_defaults(found: dict[str, str]) -> dict[str, str]:
    hypernet = found.pop("Hypernet", None)
    if hypernet is not None:
        found["Prompt"] += f"<hypernet:{hypernet}:{found.pop('Hypernet strength', '1.0')}>"
    first_pass = _first_pass(found)
    if first_pass is not None:
        # Before 1.0 the size was the second pass's and the first pass had its own.
        found["Hires resize-1"], found["Hires resize-2"] = found.get("Size-1", "0"), found.get("Size-2", "0")
        found["Size-1"], found["Size-2"] = first_pass
    for key, value in DEFAULTS:
        found.setdefault(key, value)
    if _BRACKET.search(found["Prompt"]) or _BRACKET.search(found["Negative prompt"]):
        found.setdefault("Emphasis", "Original")
    return found


def _first_pass(found: Mapping[str, str]) -> tuple[str, str] | None:
    """The size of the first pass where the text gives it apart; 0x0 stands for one of 512x512 pixels in the picture's shape."""
    if "First pass size-1" not in found or "First pass size-2" not in found:
        return None
    given = found["First pass size-1"], found["First pass size-2"]
    if all(side.strip("0") for side in given):
        return given
    sides = [found.get("Size-1", "0"), found.get("Size-2", "0")]
    if not all(side.strip("0") and len(side) <= _SIDE_DIGITS for side in sides):
        return None
    width, height = map(int, sides)
    scale = math.sqrt(512 * 512 / (width * height))
    # in this order, as A1111 rounds it
    first, second = (math.ceil(scale * side / 64) * 64 for side in (width, height))
    return str(first), str(second)
