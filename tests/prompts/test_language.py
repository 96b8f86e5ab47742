"""Prompts as people write them, and texts that nobody should write: nothing raises and nothing hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.prompts.chunks import CHUNK_LENGTH, chunk_prompt, count_tokens
from modules.prompts.grammar import parse_attention, strip_comments
from modules.prompts.network_tags import NetworkTag, extract_network_tags
from modules.prompts.schedule import prompt_schedule, split_and
from modules.prompts.tokenizer import END, START, clip_tokenizer

ANY_PROMPT = st.lists(
    st.sampled_from(
        [
            "(",
            ")",
            "[",
            "]",
            ":",
            "|",
            "\\",
            "a",
            "cat",
            " ",
            ",",
            "1.2",
            "5",
            "0.5",
            "BREAK",
            "AND",
            "<lora:x:1>",
            "<",
            ">",
            "#",
            "\n",
            "é",
            "猫",
            "-1e99",
            "1.2.3",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=600, deadline=None)
@given(ANY_PROMPT | st.text(max_size=80))
def test_nothing_raises(text: str) -> None:
    assert parse_attention(text)
    assert split_and(text)
    for hires, old in ((None, False), (7, False), (None, True), (7, True)):
        schedule = prompt_schedule(text, 11, hires, old)
        ends = [end for end, _ in schedule]
        assert ends == sorted(set(ends))
        assert ends[-1] == (11 if hires is None or old else 7)
        assert ends[0] > 0
    extract_network_tags(text)
    strip_comments(text)
    count, limit = count_tokens(text, 11)
    assert 0 <= count <= limit
    assert limit % CHUNK_LENGTH == 0


@settings(max_examples=200, deadline=None)
@given(ANY_PROMPT, st.sampled_from(["none", "ignore", "original", "no_norm"]), st.integers(0, 74))
def test_chunks_always_fit_the_encoder(text: str, emphasis: str, backtrack: int) -> None:
    chunks, _ = chunk_prompt(text, clip_tokenizer(), emphasis=emphasis, comma_backtrack=backtrack)
    for chunk in chunks:
        assert len(chunk.tokens) == len(chunk.multipliers) == 77
        assert (chunk.tokens[0], chunk.tokens[-1]) == (START, END)
    if emphasis in ("none", "ignore"):
        assert all(weight == 1.0 for chunk in chunks for weight in chunk.multipliers)


READERS: dict[str, Callable[[str], object]] = {
    "attention": parse_attention,
    "schedule": lambda text: prompt_schedule(text, 20),
    "and": split_and,
    "tags": extract_network_tags,
    "comments": strip_comments,
}


@pytest.mark.parametrize("reader", list(READERS))
@pytest.mark.parametrize(
    "piece",
    ["(a", "[a", ")a", "[a:", "[a|", "[a:b:3]", "\\", " ", ": ", "BREAK ", "AND ", "<a:", "<aaaa", "#", "(a:1.2)", " BREAK", ":1.2"],
)
def test_time_grows_with_the_length_alone(reader: str, piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        times: list[float] = []
        for _ in range(3):
            start = time.process_time()
            READERS[reader](text)
            times.append(time.process_time() - start)
        return min(times)

    # A quadratic reader takes 64 times as long for eight times the text; the floor keeps tiny times from counting.
    assert seconds(80_000) < 24 * max(seconds(10_000), 0.05)


@pytest.mark.parametrize("text", ["(" * 20_000 + "x" + ")" * 20_000, "[a:" * 10_000 + ":3]" * 10_000, "[a|" * 10_000 + "]" * 10_000])
def test_nesting_has_no_limit_that_raises(text: str) -> None:
    assert parse_attention(text)
    assert prompt_schedule(text, 5)
    assert count_tokens(text[:300], 5)


def test_network_tags_leave_the_text() -> None:
    text, tags = extract_network_tags("a <lora:ink:0.8:0.5> cat <lora:x:te=1:dyn=8>, <hypernet:h:1> <unclosed:1")
    assert text == "a  cat ,  <unclosed:1"
    assert tags == (
        NetworkTag("lora", ("ink", "0.8", "0.5")),
        NetworkTag("lora", ("x",), (("te", "1"), ("dyn", "8"))),
        NetworkTag("hypernet", ("h", "1")),
    )


def test_comments_go_to_the_end_of_their_line() -> None:
    assert strip_comments("# title\na cat # not a dog\nin a hat") == "a cat \nin a hat"
    assert strip_comments("no comment") == "no comment"


def test_counter_counts_the_longest_text_and_no_tags() -> None:
    assert count_tokens("", 20) == (0, 75)
    assert count_tokens("a cat", 20) == (2, 75)
    assert count_tokens("a cat <lora:ink:1>", 20) == (2, 75)
    assert count_tokens("[a cat:a big red dog:0.5]", 20) == (4, 75)
    assert count_tokens("a AND a big cat", 20) == (3, 75)
    assert count_tokens("a BREAK b", 20) == (76, 150)
    assert count_tokens("(a:1.2)", 20, emphasis="none")[0] > count_tokens("(a:1.2)", 20)[0]


def test_word_wrap_moves_what_follows_the_last_comma() -> None:
    tokenizer = clip_tokenizer()
    text = "cat " * 70 + ", dog " * 1 + "dog " * 10
    wrapped, _ = chunk_prompt(text, tokenizer)
    cut, _ = chunk_prompt(text, tokenizer, comma_backtrack=0)
    dog = tokenizer.encode("dog")[0]
    assert wrapped[0].tokens.count(dog) == 0
    assert wrapped[1].tokens.count(dog) == 11
    assert cut[0].tokens.count(dog) == 4
