"""Words that stand for vectors: how they are found among the tokens, and what room they take in the chunks."""

from __future__ import annotations

import pytest

from modules.prompts.chunks import Chunk, chunk_prompt, count_tokens
from modules.prompts.inserts import Inserted, inserts_of, mentioned
from modules.prompts.tokenizer import clip_tokenizer

TOKENS = clip_tokenizer()


def chunks(text: str, **words: int) -> tuple[list[Chunk], int]:
    inserts = inserts_of({word.replace("_", "-"): vectors for word, vectors in words.items()}, TOKENS)
    return chunk_prompt(text, TOKENS, inserts=inserts)


def test_a_word_takes_as_many_places_as_it_has_vectors() -> None:
    found, count = chunks("a cat, (My-Style:1.5) house", my_style=4)
    start = 1 + TOKENS.count("a cat,")
    assert found[0].inserted == (Inserted(start, "my-style"),)
    assert found[0].multipliers[start : start + 4] == (1.5,) * 4
    assert found[0].tokens[start + 4] == TOKENS.encode("house")[0]
    assert count == start - 1 + 4 + 1
    assert len(found[0].tokens) == len(found[0].multipliers) == 77


@pytest.mark.parametrize("text", ["mystyle", "a my style", "style", "my-styles"])
def test_only_the_whole_word_counts(text: str) -> None:
    assert chunks(text, my_style=4)[0][0].inserted == ()


def test_the_longest_word_wins() -> None:
    assert [each.word for each in chunks("cat-two cat", cat=1, cat_two=2)[0][0].inserted] == ["cat-two", "cat"]


def test_a_word_is_never_cut_in_two() -> None:
    found, count = chunks(" ".join(["house"] * 73) + " cat dog", cat=4)
    assert [chunk.inserted for chunk in found] == [(), (Inserted(1, "cat"),)]
    assert found[1].tokens[5] == TOKENS.encode("dog")[0]
    assert count == 75 + 5


def test_a_word_after_the_last_comma_moves_with_its_neighbours() -> None:
    found, _ = chunks(" ".join(["house"] * 69) + ", cat dog bird fox", cat=3)
    assert [chunk.inserted for chunk in found] == [(), (Inserted(1, "cat"),)]
    assert found[1].tokens[4:7] == tuple(TOKENS.encode("dog bird fox"))
    stays, _ = chunks("cat, " + " ".join(["house"] * 67) + ", dog bird fox lion", cat=3)
    assert [chunk.inserted for chunk in stays] == [(Inserted(1, "cat"),), ()]


def test_the_counter_counts_vectors() -> None:
    inserts = inserts_of({"cat": 10}, TOKENS)
    assert count_tokens("a cat", 20, inserts=inserts) == (11, 75)
    assert count_tokens("a cat", 20) == (2, 75)


def test_mentioned_words_are_found_in_any_case() -> None:
    assert mentioned("A Cat and a DOG", ["cat", "Dog", "bird", ""]) == ["cat", "Dog"]
