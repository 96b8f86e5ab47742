"""What do brackets, BREAK and # in a prompt mean? Text in, (text, weight) pairs out. Knows no tokens, steps or networks.

`(a)` is 1.1, `[a]` is 1/1.1, `(a:1.5)` is 1.5; nesting multiplies; a backslash makes a bracket literal; brackets that never close count up
to the end. Nothing here raises, and time grows with the length of the text alone.
"""

from __future__ import annotations

import math
import re

ROUND_WEIGHT = 1.1
SQUARE_WEIGHT = 1 / 1.1

BREAK = ("BREAK", -1.0)
"""The pair that stands for "go on in the next chunk"."""

MAX_DEPTH = 64
"""Brackets of one kind that lie deeper than this no longer change the weight (1.1 ** 64 is 445: such a picture is lost anyway)."""

_PIECE = re.compile(r"\\[\\()\[\]]?|[(\[\])]|:\s*([+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")


def parse_attention(text: str) -> list[tuple[str, float]]:
    """The pieces of `text` with their weights, neighbours of equal weight joined; at least one piece."""
    parser = _Parser()
    for match in _PIECE.finditer(text):
        parser.feed(match.group(), match.group(1))
    return parser.finish()


def strip_comments(text: str) -> str:
    """`text` without what follows a # on its line; a line that is only a comment goes altogether."""
    if "#" not in text:
        return text
    return "\n".join(line.partition("#")[0] for line in text.split("\n") if not line.startswith("#"))


class _Parser:
    """Pieces collected so far and the open brackets, as the index of the first piece inside each."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._weights: list[float] = []
        self._round: list[int] = []
        self._square: list[int] = []

    def feed(self, piece: str, weight: str | None) -> None:
        if piece[0] == "\\":
            # One that escapes nothing is dropped.
            self._add(piece[1:], 1.0)
        elif piece == "(":
            self._round.append(len(self._texts))
        elif piece == "[":
            self._square.append(len(self._texts))
        elif weight is not None and self._round and (number := _number(weight)) is not None:
            self._close(self._round, number)
        elif weight is not None:
            self.feed_text(piece[:-1])
            self.feed(")", None)
        elif piece == ")" and self._round:
            self._close(self._round, ROUND_WEIGHT)
        elif piece == "]" and self._square:
            self._close(self._square, SQUARE_WEIGHT)
        else:
            self.feed_text(piece)

    def feed_text(self, text: str) -> None:
        """Literal text, cut at the word BREAK together with the white space around it."""
        words = _BREAK.split(text)
        for index, word in enumerate(words):
            if index:
                self._add(*BREAK)
                word = word.lstrip()
            self._add(word.rstrip() if index < len(words) - 1 else word, 1.0)

    def finish(self) -> list[tuple[str, float]]:
        while self._round:
            self._close(self._round, ROUND_WEIGHT)
        while self._square:
            self._close(self._square, SQUARE_WEIGHT)
        return _joined(self._texts, self._weights) or [("", 1.0)]

    def _add(self, text: str, weight: float) -> None:
        self._texts.append(text)
        self._weights.append(weight)

    def _close(self, stack: list[int], factor: float) -> None:
        start = stack.pop()
        if len(stack) < MAX_DEPTH:
            for index in range(start, len(self._weights)):
                self._weights[index] *= factor


def _number(text: str) -> float | None:
    """A finite number, or None for things like 1.2.3."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _joined(texts: list[str], weights: list[float]) -> list[tuple[str, float]]:
    runs: list[tuple[list[str], float]] = []
    for text, weight in zip(texts, weights, strict=True):
        if runs and runs[-1][1] == weight:
            runs[-1][0].append(text)
        else:
            runs.append(([text], weight))
    return [("".join(run), weight) for run, weight in runs]
