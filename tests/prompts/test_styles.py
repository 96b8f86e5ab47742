"""Styles as A1111 adds them and takes them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.prompts.styles import with_styles, without_style, without_styles, without_texts

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


PARTS = st.text("ab ,{}", max_size=12) | st.sampled_from(["oil painting", "photo of {prompt}, sharp", "{prompt}", "ugly", ""])


@given(PARTS, PARTS, st.lists(st.tuples(PARTS, PARTS), max_size=3))
def test_styles_taken_apart_and_added_again_give_the_same_text(prompt: str, negative: str, texts: list[tuple[str, str]]) -> None:
    styles = [(f"style {number}", *pair) for number, pair in enumerate(texts)]
    whole = with_styles(prompt, [style[1] for style in styles]), with_styles(negative, [style[2] for style in styles])
    *shorter, names = without_styles(*whole, styles)
    chosen = [next(style for style in styles if style[0] == name) for name in names]
    again = with_styles(shorter[0], [style[1] for style in chosen]), with_styles(shorter[1], [style[2] for style in chosen])
    assert again == whole


def test_styles_are_found_in_the_order_in_which_they_were_added() -> None:
    styles = [("oil", "oil painting", ""), ("photo", "photo of {prompt}, sharp", "blurred"), ("other", "a house", "")]
    prompt, negative = with_styles("a cat", [style[1] for style in styles[:2]]), "ugly, blurred"
    assert prompt == "photo of a cat, oil painting, sharp"
    assert without_styles(prompt, negative, styles) == ("a cat", "ugly", ["oil", "photo"])
    assert without_styles("a dog", "", styles) == ("a dog", "", [])


@given(PARTS, st.lists(PARTS, max_size=3))
def test_texts_are_taken_out_of_a_prompt_only_where_adding_them_gives_it_again(prompt: str, texts: list[str]) -> None:
    for whole in (with_styles(prompt, texts), prompt):
        bare = without_texts(whole, texts)
        assert bare is None or with_styles(bare, texts) == whole
    assert without_texts(with_styles("a cat", ["oil painting"]), ["oil painting"]) == "a cat"
    assert without_texts("a cat", ["oil painting"]) is None
