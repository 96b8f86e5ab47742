"""What may the last word of a prompt become? Networks after `<`, wildcards after `__`, and words, by the letters typed so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MANY_WORDS = 4
"""How many words before the cursor may be the beginning of one name: "teddy b" is one."""

_NETWORK = re.compile(r"<(?:lora:|lyco:)?([^<>:\n]*)$", re.IGNORECASE)
_WILDCARD = re.compile(r"__((?:[^\W_]|[-/*]|_(?!_))*)$")
_WORDS = re.compile(r"[^,.;:\n()\[\]{}|<>]*$")
_LETTERS = 2  # fewer say nothing
_LETTERS_INSIDE = 3  # that find a word by its middle

Kind = Literal["network", "wildcard", "word"]

START, LATER_WORD, MIDDLE = range(3)
"""Where in a word the letters were found, the best first."""


@dataclass(frozen=True, slots=True)
class Word:
    """`text` is looked for, and `also` finds it too; `insert` is what the prompt gets; `detail` tells people more."""

    text: str
    insert: str
    detail: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands before the cursor: `text` is looked for among the words of its kind, and the last `length` characters give way."""

    kind: Kind
    text: str
    length: int


@dataclass(frozen=True, slots=True)
class Found:
    """A word, how well it fits (`START` to `MIDDLE`), and the spelling that was found where it isn't the word's own."""

    word: Word
    fit: int
    by: str = ""


class Vocabulary:
    """Words of one source, those that are preferred first, prepared to be looked through: a hundred thousand in some milliseconds."""

    def __init__(self, words: Iterable[Word]) -> None:
        self._rows = [(key.lower(), by, word) for word in words for key, by in ((word.text, ""), *((each, each) for each in word.also))]

    def find(self, letters: str, limit: int) -> list[Found]:
        """The words with `letters` in them, in any case: at most `limit` for each fit, in the vocabulary's order."""
        letters = letters.lower()
        found: tuple[list[Found], ...] = ([], [], [])
        seen: set[str] = set()
        for key, by, word in self._rows:
            if letters not in key or word.insert in seen:
                continue
            fit = _fit(letters, key)
            if len(found[fit]) < limit:
                seen.add(word.insert)
                found[fit].append(Found(word, fit, by))
                if fit == START and len(found[START]) == limit:
                    break
        return [each for group in found for each in group]


def typed(before: str) -> list[Typed]:
    """How the end of `before`, the prompt up to the cursor, can be read; the longest reading first, empty where nothing was typed."""
    if network := _NETWORK.search(before):
        return [Typed("network", network[1], len(network[0]))]
    wildcard = _WILDCARD.search(before)
    if wildcard and before.count("__", 0, wildcard.start()) % 2 == 0:
        return [Typed("wildcard", wildcard[1], len(wildcard[0]))]
    tail = _WORDS.search(before)
    words = list(re.finditer(r"\S+", tail[0]))[-MANY_WORDS:] if tail else []
    endings = [tail[0][word.start() :] for word in words] if tail else []
    return [Typed("word", text, len(text)) for text in endings if len(text.strip()) >= _LETTERS]


def complete(before: str, vocabularies: Callable[[Kind], Sequence[Vocabulary]], limit: int) -> tuple[int, list[Found]]:
    """How many characters at the end of `before` give way, and at most `limit` words for them; none is (0, []).

    The best fits come first and among them those of the earlier vocabularies.
    """
    for reading in typed(before):
        found, finished = _found(reading, vocabularies(reading.kind), limit)
        if found or finished:
            return (reading.length, found) if found else (0, [])
    return 0, []


def _found(reading: Typed, vocabularies: Sequence[Vocabulary], limit: int) -> tuple[list[Found], bool]:
    """The words for one reading, and whether it is one already: what is written out is not offered again."""
    letters = reading.text.lower()
    found = sorted((each for vocabulary in vocabularies for each in vocabulary.find(letters, limit)), key=lambda each: each.fit)
    if reading.kind == "word" and (" " in letters or len(letters) < _LETTERS_INSIDE):
        found = [each for each in found if each.fit == START]
    others = [each for each in found if reading.kind != "word" or each.word.text.lower() != letters]
    return others[:limit], len(others) < len(found)


def _fit(letters: str, key: str) -> int:
    if key.startswith(letters):
        return START
    return LATER_WORD if re.search(rf"(?<![^\W_]){re.escape(letters)}", key) else MIDDLE
