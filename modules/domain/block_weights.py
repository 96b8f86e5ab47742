"""How strongly is each block of the UNet merged? The community's "MBW" notation, read and checked.

Blocks are IN00 to IN11, M00 and OUT00 to OUT11 in Stable Diffusion 1 and 2, IN00 to IN08, M00 and OUT00 to OUT08 in SDXL. BASE is all else:
text encoders, VAE, and what of the UNet is in no block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from modules.domain.checks import check, check_range
from modules.domain.errors import InvalidRequest

BASE = "BASE"
MAX_TEXT = 4000

PRESETS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "GRAD_V": lambda place: abs(2 * place - 1),
        "GRAD_A": lambda place: 1 - abs(2 * place - 1),
        "RAMP": lambda place: place,
        "SMOOTHSTEP": lambda place: place * place * (3 - 2 * place),
    }
)
"""Shapes by name: a block's weight by its place, 0 for IN00 and 1 for the last OUT. BASE is the multiplier."""

_NAMED = re.compile(r"(?P<name>[A-Za-z]+\s*\d*)\s*[:=]\s*(?P<number>\S+)")
_BLOCK = re.compile(r"(IN|OUT|M|MID)(\d{1,2})?")


def block_names(inputs: int, outputs: int) -> tuple[str, ...]:
    """The names of the blocks of a UNet with so many on its way down and up, in order."""
    return (*(f"IN{n:02}" for n in range(inputs)), "M00", *(f"OUT{n:02}" for n in range(outputs)))


def check_block_weights(text: str) -> None:
    """Raise `InvalidRequest` where the text can't be weights of any model."""
    check(len(text) <= MAX_TEXT, f"Block weights are longer than {MAX_TEXT} characters.")
    if text.strip() and text.strip().upper() not in PRESETS:
        _named(text) if _is_named(text) else _numbers(text)


def block_multipliers(text: str, multiplier: float, inputs: int, outputs: int) -> Mapping[str, float]:
    """The multiplier of every block and of BASE, where the UNet has so many blocks on its way down and up.

    `text` is a preset's name; or numbers in the blocks' order, with BASE's in front or without it; or lines such as "IN00: 0.2". What it
    does not say is `multiplier`. Raises `InvalidRequest` for what it says of blocks that are not there.
    """
    names = block_names(inputs, outputs)
    whole = dict.fromkeys((BASE, *names), multiplier)
    wanted = text.strip()
    if not wanted:
        return whole
    if wanted.upper() in PRESETS:
        shape = PRESETS[wanted.upper()]
        return whole | {name: shape(place / (len(names) - 1)) for place, name in enumerate(names)}
    if _is_named(wanted):
        named = _named(wanted)
        strange = next((name for name in named if name not in whole), None)
        check(
            strange is None,
            f"Block weights: this model has no block {strange}. It has IN00 to {names[inputs - 1]}, M00 and OUT00 to {names[-1]}.",
        )
        return whole | named
    numbers = _numbers(wanted)
    if len(numbers) == len(names):
        return whole | dict(zip(names, numbers, strict=True))
    check(
        len(numbers) == len(whole),
        f"Block weights: this model has {len(names)} blocks, so write {len(whole)} numbers, that of BASE first, not {len(numbers)}.",
    )
    return dict(zip(whole, numbers, strict=True))


def _is_named(text: str) -> bool:
    return ":" in text or "=" in text


def _named(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in (part.strip() for part in re.split(r"[\n,;]", text)):
        if not line:
            continue
        match = _NAMED.fullmatch(line)
        if match is None:
            raise InvalidRequest(f"Block weights: {line[:40]!r} can't be read. Write a line such as IN00: 0.2 for each block.")
        found[_block(match["name"])] = _number(match["number"])
    return found


def _block(text: str) -> str:
    name = "".join(text.upper().split())
    if name == BASE:
        return name
    match = _BLOCK.fullmatch(name)
    if match is None or (match[2] is None and match[1] in ("IN", "OUT")):
        raise InvalidRequest(f"Block weights: there is no block {text[:20]!r}. Blocks are BASE, IN00 …, M00 and OUT00 ….")
    return f"{'M' if match[1] == 'MID' else match[1]}{int(match[2] or 0):02}"


def _numbers(text: str) -> Sequence[float]:
    return [_number(word) for word in re.split(r"[\s,;]+", text.strip(" \n\t,;"))]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        presets = ", ".join(PRESETS)
        raise InvalidRequest(
            f"Block weights: {text[:40]!r} is not a number. Write numbers with commas, lines such as IN00: 0.2, or one of {presets}."
        ) from None
    check_range("A block's weight", value, 0.0, 1.0)
    return value
