"""A pattern gives the name that A1111 gives, and every name can be saved on every file system."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.imaging.filenames import PLAIN_TOKENS, expand, file_name, folder_name, safe_name, sanitize

MISC: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "misc.json").read_text())
MADE: dict[str, Any] = MISC["filename_patterns"]["p"]
FIELDS = {
    "seed": str(MADE["seed"]),
    "seed_first": str(MADE["all_seeds"][0]),
    "seed_last": str(MADE["all_seeds"][-1]),
    "steps": str(MADE["steps"]),
    "cfg": str(MADE["cfg_scale"]),
    "width": str(MADE["width"]),
    "height": str(MADE["height"]),
    "sampler": MADE["sampler_name"],
    "scheduler": MADE["scheduler"],
    "styles": "None",
    "prompt": MADE["prompt"],
    "negative_prompt": MADE["negative_prompt"],
    "batch_number": "1",
    "generation_number": "1",
    "denoising": "0.5",
}
NOW = datetime(2026, 11, 22, 9, 30, 15)


@pytest.mark.parametrize(
    "case", [case for case in MISC["filename_patterns"]["cases"] if "image_hash" not in case["pattern"]], ids=lambda case: case["pattern"]
)
def test_patterns(case: dict[str, str]) -> None:
    assert expand(case["pattern"], FIELDS, now=NOW) == case["result"]


@pytest.mark.parametrize("case", MISC["sanitize_filename"], ids=lambda case: case["text"][:20])
def test_values_are_cleaned_as_a1111_does(case: dict[str, str]) -> None:
    assert sanitize(case["text"]) == case["result"]
    assert sanitize(case["text"], replace_spaces=False) == case["no_space"]


def test_dates() -> None:
    assert expand("[date]", {}, now=NOW) == "2026-11-22"
    assert expand("[datetime]", {}, now=NOW) == "20261122093015"
    assert expand("[datetime<%H>]", {}, now=NOW) == "09"
    assert expand("[datetime<%H><Nowhere/Land>]", {}, now=NOW) == "09"
    assert expand("[datetime<%H><UTC>]", {}, now=NOW.astimezone()) == f"{NOW.astimezone().utctimetuple().tm_hour:02}"


def test_folders_come_from_the_pattern_alone() -> None:
    assert folder_name("[date]/[sampler]", {"sampler": "a/../b"}, now=NOW) == "2026-11-22/a_.._b"
    assert folder_name("../../etc/[seed]", {"seed": "1"}) == "etc/1"
    assert file_name("[height]/[width]", FIELDS) == "768_512"


@pytest.mark.parametrize("name", ["CON", "nul.txt", "com1", "LPT9.x", "aux", "con.", " con", "CoM¹"])
def test_reserved_names(name: str) -> None:
    assert safe_name(name).startswith("_")
    assert safe_name("console") == "console"


@settings(max_examples=1000, deadline=None)
@given(
    st.text(max_size=400),
    st.sampled_from(["[prompt]", "[prompt_spaces]", "[prompt_words]", "x[prompt]", "[seed]-[prompt].", "[hasprompt<a|../>]", None]),
)
def test_any_prompt_can_be_saved(text: str, pattern: str | None) -> None:
    name = file_name(pattern if pattern is not None else text, {"prompt": text, "seed": "7"})
    assert len(f"00012-{name}.png".encode()) <= 255
    assert not any(char in name for char in '/\\<>:"|?*\0\n\r\t')
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name)
    assert name == name.strip(" .")
    assert unicodedata.is_normalized("NFC", name)
    assert name.split(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt1")


def test_unknown_tokens_stay_and_absent_fields_are_empty() -> None:
    assert expand("[foo][number]", {}) == "[foo][number]"
    for token in sorted(PLAIN_TOKENS):
        assert expand(f"a[{token}]b", {}) == "ab"


PIECES = [
    "[prompt]",
    "[datetime<",
    "[datetime<%",
    "[date]",
    "[prompt_hash<",
    "[hasprompt<",
    "9" * 5000,
    ">",
    "<",
    "|",
    "]",
    "[",
    "/",
    "\\",
    "..",
    "CON",
    "%Y",
    "\0",
    "UTC",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=10).map("".join))
def test_any_pattern_gives_a_name_and_a_folder_below_the_root(pattern: str) -> None:
    fields = {"prompt": "../../etc/passwd", "seed": "1"}
    assert "/" not in file_name(pattern, fields, now=NOW)
    folder = Path("/root/outputs") / folder_name(pattern, fields, now=NOW)
    assert ".." not in folder.parts
    assert folder.is_relative_to("/root/outputs")
