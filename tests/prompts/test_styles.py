"""Styles as A1111 adds them and takes them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompts.styles import with_styles, without_style

MISC: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "misc.json").read_text())


@pytest.mark.parametrize("case", MISC["styles_apply"])
def test_adding(case: dict[str, Any]) -> None:
    assert with_styles(case["prompt"], case["styles"]) == case["result"]


@pytest.mark.parametrize("case", MISC["styles_extract"])
def test_taking_out(case: dict[str, Any]) -> None:
    found = without_style(case["prompt"], case["style"])
    assert [found is not None, found] == case["result"]


@given(st.text(), st.text())
def test_what_was_added_can_be_taken_out(prompt: str, style: str) -> None:
    found = without_style(with_styles(prompt, [style]), style)
    assert found is not None
    if style.strip() and "{prompt}" not in style:
        assert found.strip().rstrip(",").strip() == prompt.strip().rstrip(",").strip() or prompt.strip() == ""


def test_a_style_that_is_not_there() -> None:
    assert without_style("a cat", "oil painting") is None
    assert without_style("a cat", "x {prompt} y") is None
    assert without_style("aba", "ab{prompt}ba") is None
