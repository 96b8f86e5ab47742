"""What is offered while a prompt is typed."""

from __future__ import annotations

import pytest

from modules.prompts.completion import Typed, Vocabulary, Word, complete, typed

WORDS = Vocabulary(
    [
        Word("cat", "cat"),
        Word("teddy bear", "teddy bear"),
        Word("cathedral", "cathedral"),
        Word("long hair", "long hair, ", "4.2M", ("longhair", "very long")),
        Word("black cat", "black cat"),
        Word("concatenated", "concatenated"),
    ]
)


def offered(before: str, limit: int = 12) -> list[str]:
    return [each.word.insert for each in complete(before, lambda _: [WORDS], limit)[1]]


@pytest.mark.parametrize(
    ("before", "kind", "text", "length"),
    [
        ("a cat <", "network", "", 1),
        ("a cat <lora:sty", "network", "sty", 9),
        ("a cat <sty", "network", "sty", 4),
        ("a __", "wildcard", "", 2),
        ("a __beasts/w", "wildcard", "beasts/w", 10),
        ("a __hat_of", "wildcard", "hat_of", 8),
        ("__hat__ and __co", "wildcard", "co", 4),
    ],
)
def test_networks_and_wildcards_are_recognised_by_their_marks(before: str, kind: str, text: str, length: int) -> None:
    assert typed(before) == [Typed(kind, text, length)]  # pyright: ignore[reportArgumentType]


def test_a_finished_wildcard_or_network_is_not_typed_on() -> None:
    assert all(reading.kind == "word" for before in ("__hat__ ca", "<lora:x:1> ca", "a < b\nca") for reading in typed(before))


@pytest.mark.parametrize("before", ["", "c", "a cat, ", "(", "1girl, c"])
def test_one_letter_or_none_asks_for_nothing(before: str) -> None:
    assert offered(before) == []


def test_the_beginning_of_a_word_comes_before_its_middle() -> None:
    assert offered("a photo of a cat") == ["cathedral", "black cat", "concatenated"]
    assert offered("(two CATH") == ["cathedral"]
    assert offered("ca") == ["cat", "cathedral"]
    assert offered("ca", limit=1) == ["cat"]


def test_several_words_are_read_as_one_name_where_there_is_one() -> None:
    assert offered("a dog and a teddy b") == ["teddy bear"]
    (first, *_) = typed("a dog and a teddy b")
    assert (first.text, first.length) == ("and a teddy b", 13)
    assert offered("teddy ") == ["teddy bear"]


def test_another_spelling_finds_the_word() -> None:
    (found,) = complete("longh", lambda _: [WORDS], 5)[1]
    assert (found.word.insert, found.by) == ("long hair, ", "longhair")


def test_a_word_that_is_written_out_is_not_offered_again() -> None:
    assert offered("a black cat") == []
    assert offered("cat") == ["cathedral", "black cat", "concatenated"]


def test_earlier_vocabularies_come_first_among_equals() -> None:
    own = Vocabulary([Word("catwoman", "catwoman")])
    found = complete("cat", lambda _: [own, WORDS], 3)[1]
    assert [each.word.text for each in found] == ["catwoman", "cathedral", "black cat"]
