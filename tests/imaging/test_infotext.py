"""A picture's text says what it says in every A1111-aware tool, and comes back as it went in."""

from __future__ import annotations

import json
import re
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.imaging.infotext import format_infotext, parse_infotext, quote, unquote

MISC: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "misc.json").read_text())

OTHERS = ("Hires VAE/TE",)
"""Keys of a fork that A1111 does not have."""


@pytest.mark.parametrize("case", MISC["parse_generation_parameters"], ids=lambda case: case["text"][:40])
def test_reads_what_a1111_reads(case: dict[str, Any]) -> None:
    expected = {key: str(value) for key, value in case["result"].items() if key not in OTHERS}
    assert parse_infotext(case["text"]) == expected


@pytest.mark.parametrize("case", MISC["quote"], ids=lambda case: case["text"])
def test_quotes_as_a1111_does(case: dict[str, Any]) -> None:
    assert quote(case["text"]) == case["quoted"]
    assert unquote(case["quoted"]) == case["unquoted"]


def test_layout() -> None:
    text = format_infotext(
        "a cat\nin a hat", "bad", [("Steps", 20), ("Sampler", "Euler a"), ("VAE", None), ("CFG scale", 7.0), ("Size", "512x768")]
    )
    assert text == "a cat\nin a hat\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Size: 512x768"
    assert "Negative" not in format_infotext("a", "", [("Steps", 20)])


def test_old_hires_size_and_hypernets_become_todays() -> None:
    found = parse_infotext("a\nSteps: 1, Sampler: Euler, Seed: 1, Size: 512x512, Hypernet: anime, Hypernet strength: 0.5")
    assert found["Prompt"] == "a<hypernet:anime:0.5>"


def test_emphasis_is_told_from_escaped_brackets() -> None:
    assert parse_infotext("a (b)")["Emphasis"] == "Original"
    assert "Emphasis" not in parse_infotext(r"a \(b\)")


@pytest.mark.parametrize(
    "prompt",
    [
        "(masterpiece:1.2), (best quality:1.3), (red hair:1.1)",
        "a castle\nmood: dark, light: soft, camera: 35mm",
        "a house\nSteps: of stone, Size: large, Model: a dancer",
    ],
)
def test_a_prompt_with_colons_is_a_prompt(prompt: str) -> None:
    assert parse_infotext(prompt, defaults=False) == {"Prompt": prompt, "Negative prompt": ""}
    parted = parse_infotext(f"{prompt}\nNegative prompt: (fog:1.1), (rain:1.2), (snow:1.3)", defaults=False)
    assert parted == {"Prompt": prompt, "Negative prompt": "(fog:1.1), (rain:1.2), (snow:1.3)"}
    assert parse_infotext(f"{prompt}\nSteps: 20, Seed: 1, Size: 64x64")["Prompt"] == prompt


@pytest.mark.parametrize(
    ("first", "size", "expected"),
    [
        ("512x384", "1024x768", ("512", "384")),
        ("0x0", "1024x768", ("640", "448")),
        ("0x0", "768x768", ("512", "512")),
        ("0x0", "512x1024", ("384", "768")),
        ("0x0", "0x768", None),
        ("0x0", f"{'9' * 5000}x1", None),
    ],
)
def test_the_first_pass_of_old_pictures(first: str, size: str, expected: tuple[str, str] | None) -> None:
    found = parse_infotext(f"a\nSteps: 1, Sampler: Euler, Size: {size}, Denoising strength: 0.7, First pass size: {first}")
    written = tuple(size.split("x"))
    assert (found["Size-1"], found["Size-2"]) == (expected or written)
    assert (found["Hires resize-1"], found["Hires resize-2"]) == (written if expected else ("0", "0"))


KEYS = st.text(string.ascii_letters + string.digits + " -/", min_size=2, max_size=20).filter(
    lambda key: key == key.strip(" -/") and key[0].isalnum()
)
VALUES = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KEYS, VALUES), min_size=3, max_size=8, unique_by=lambda pair: pair[0]))
def test_fields_survive_the_round_trip(fields: list[tuple[str, str]]) -> None:
    fields = [(key, value) for key, value in fields if key != value and not re.fullmatch(r"\d+x\d+", value)]
    if len(fields) < 3:
        return
    # no line of fields is without one that A1111 writes
    fields = [("Sampler", "Euler"), *(pair for pair in fields if pair[0] != "Sampler")]
    found = parse_infotext(format_infotext("a prompt", "", fields), defaults=False)
    assert found == {**dict(fields), "Prompt": "a prompt", "Negative prompt": ""}


LINES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4), st.lists(LINES, max_size=3))
def test_prompts_survive_the_round_trip(prompt: list[str], negative: list[str]) -> None:
    if any(line.startswith("Negative prompt:") for line in (*prompt, *negative)):
        return
    text = format_infotext("\n".join(prompt), "\n".join(negative), [("Steps", 20), ("Seed", 1), ("Size", "64x64")])
    found = parse_infotext(text)
    assert found["Prompt"] == "\n".join(prompt)
    assert found["Negative prompt"] == "\n".join(negative)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    parse_infotext(text)


@pytest.mark.parametrize(
    "piece", ["a", " ", "a a:", 'aa:"', 'aa:"\\', "aa: ", ",", "-", "Steps: 1, ", 'aa:"b"c', "\n", "Negative prompt:", "("]
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        start = time.process_time()
        parse_infotext(text)
        return time.process_time() - start

    # A quadratic reader takes sixteen times as long for four times the text; the floor keeps tiny times from counting.
    assert seconds(400_000) < 8 * max(seconds(100_000), 0.02)
