"""Choices in a prompt: what is drawn by chance, what every combination is, and what can't be read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompts.dynamic import ChoicesUnreadable, drawn, every, parse

FILES = {
    "animals": ["cat", "dog", "{old|young} fox"],
    "loop": ["a __loop__"],
    "often": ["9::yes", "1::no"],
}


def lines(name: str) -> Sequence[str]:
    if name not in FILES:
        raise ChoicesUnreadable(f"no {name}")
    return FILES[name]


def by_chance(text: str, count: int = 400) -> Counter[str]:
    return Counter(drawn(parse(text), random.Random(seed), lines) for seed in range(count))


def _sorted(text: str) -> tuple[str, ...]:
    """The letters of a text: by chance, several come in any order."""
    return tuple(sorted(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", ["a cat"]),
        ("a {red|blue} {cat|dog}", ["a red cat", "a red dog", "a blue cat", "a blue dog"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b"]),
        ("{-2$$a|b}", ["a", "b", "a, b"]),
        ("{ 1 - 2 $$a|b}", ["a", "b", "a, b"]),
        ("{2-$$a|b|c}", ["a, b", "a, c", "b, c", "a, b, c"]),
        ("{2$$+$${x|y}|z}", ["x+z", "y+z"]),
        ("a {|very }big house", ["a big house", "a very big house"]),
        ("a {big {cat|dog}|house}", ["a big cat", "a big dog", "a house"]),
        ("__animals__!", ["cat!", "dog!", "old fox!", "young fox!"]),
        (r"a \{brace\} [b|c] (d:1.2)", ["a {brace} [b|c] (d:1.2)"]),
        ("<lora:my_file:0.5> {a|b}", ["<lora:my_file:0.5> a", "<lora:my_file:0.5> b"]),
    ],
)
def test_every_combination(text: str, expected: list[str]) -> None:
    assert list(every(parse(text), lines)) == expected
    assert {_sorted(found) for found in by_chance(text)} == {_sorted(each) for each in expected}


def test_chance_is_even_unless_weights_say_otherwise() -> None:
    even = by_chance("{a|b}")
    assert 140 < even["a"] < 260
    heavy = by_chance("{3::a|b}")
    assert 260 < heavy["a"] < 340
    assert 330 < by_chance("__often__")["yes"] < 390
    assert set(by_chance("{0::a|b}")) == {"b"}


def test_the_same_seed_gives_the_same_prompt() -> None:
    template = parse("{a|b|c} {d|e|f} __animals__ {2$$1|2|3}")
    assert drawn(template, random.Random(5), lines) == drawn(template, random.Random(5), lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {cat|dog", "is not closed"),
        ("a cat}", "too many"),
        ("__nothing__", "no nothing"),
        ("__loop__", "leads back to itself"),
        ("{" * 40 + "}" * 40, "in one another"),
    ],
)
def test_what_can_not_be_read_is_said(text: str, message: str) -> None:
    with pytest.raises(ChoicesUnreadable, match=message):
        drawn(parse(text), random.Random(0), lines)
    with pytest.raises(ChoicesUnreadable, match=message):
        list(islice(every(parse(text), lines), 3))


def test_numbers_of_any_length_are_no_defect() -> None:
    assert drawn(parse("{" + "9" * 5000 + "::a}"), random.Random(0), lines) == "9" * 5000 + "::a"
    assert drawn(parse("{" + "9" * 5000 + "$$a}"), random.Random(0), lines) == "9" * 5000 + "$$a"


def test_a_thousand_choices_are_no_trap() -> None:
    many = parse("{a|b}" * 1000)
    assert len(drawn(many, random.Random(0), lines)) == 1000
    with pytest.raises(ChoicesUnreadable, match="too many for every combination"):
        list(every(many, lines))
    assert len(list(islice(every(parse("{a|b}" * 60), lines), 50))) == 50


@given(st.text(alphabet="ab{}|$_:0-1. \\,", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        template = parse(text)
        assert isinstance(drawn(template, random.Random(0), lines), str)
        list(islice(every(template, lines), 20))
    except ChoicesUnreadable:
        pass
