"""The tokens are CLIP's: the same as the library gives that the text encoders come from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from modules.prompts.tokenizer import clip_tokenizer, read_vocabulary

REFERENCE = CLIPTokenizer(**dict(zip(("vocab", "merges"), read_vocabulary(), strict=True)))


TEXTS = [
    "",
    "a cat",
    "A CAT's  hat,\n\tisn't it?",
    "naïve café ☕ 猫 日本",
    "12345 3.14",
    "🦊🦊",
    "<|endoftext|> x",
    "ﬁ Å Å",
    "a" * 500,
    "\u200b\ufeff",
    "don't we'll I'm",
]


@pytest.mark.parametrize("text", TEXTS)
def test_same_tokens_as_the_reference(text: str) -> None:
    assert clip_tokenizer().encode(text) == REFERENCE(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_same_tokens_for_any_text(text: str) -> None:
    assert clip_tokenizer().encode(text) == REFERENCE(text, add_special_tokens=False)["input_ids"]


def test_vocabulary_has_clips_numbers() -> None:
    vocabulary, merges = read_vocabulary()
    assert (len(vocabulary), len(merges)) == (49408, 48894)
    assert (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"], vocabulary["a</w>"], vocabulary["cat</w>"]) == (
        49406,
        49407,
        320,
        2368,
    )
    assert clip_tokenizer().comma == 267
