"""Which words of a prompt stand for vectors of their own? Textual inversions, found among the tokens as A1111 does.

Knows names and how many vectors there are, not the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modules.prompts.tokenizer import ClipTokenizer


@dataclass(frozen=True, slots=True)
class Insert:
    """`tokens` is how the tokenizer writes `word`; `vectors` is how many places it takes up in a chunk."""

    word: str
    tokens: tuple[int, ...]
    vectors: int


@dataclass(frozen=True, slots=True)
class Inserted:
    """An insert in a chunk: its first place among the chunk's 77."""

    place: int
    word: str


def inserts_of(words: Mapping[str, int], tokenizer: ClipTokenizer) -> tuple[Insert, ...]:
    """Inserts for words and their numbers of vectors, the longest first, so that `cat-2` is found before `cat`."""
    found = [Insert(word, tuple(tokenizer.encode(word)), vectors) for word, vectors in words.items()]
    return tuple(sorted((insert for insert in found if insert.tokens), key=lambda insert: -len(insert.tokens)))


def insert_at(tokens: Sequence[int], position: int, inserts: Sequence[Insert]) -> Insert | None:
    """The insert whose tokens stand at `position`, or None."""
    for insert in inserts:
        if tuple(tokens[position : position + len(insert.tokens)]) == insert.tokens:
            return insert
    return None


def mentioned(text: str, words: Iterable[str]) -> list[str]:
    """The words that occur anywhere in `text`, in any letter case: the few, of thousands, that are worth looking for among the tokens."""
    lowered = text.lower()
    return [word for word in words if word and word.lower() in lowered]
