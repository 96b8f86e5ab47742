"""How does a prompt of any length fit a text encoder that takes 77 tokens? Chunks of 75 between a start and an end mark.

Knows the tokenizer and the bracket grammar; no steps (see `schedule`) and no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modules.prompts.grammar import BREAK, parse_attention, strip_comments
from modules.prompts.inserts import Insert, Inserted, insert_at
from modules.prompts.network_tags import extract_network_tags
from modules.prompts.schedule import prompt_schedule, split_and
from modules.prompts.tokenizer import END, START, ClipTokenizer, clip_tokenizer

CHUNK_LENGTH = 75

EMPHASIS_MODES = ("none", "ignore", "original", "no_norm")


@dataclass(frozen=True, slots=True)
class Chunk:
    """77 token ids, marks included, and the weight of each; `inserted` are the places where vectors of a textual inversion belong."""

    tokens: tuple[int, ...]
    multipliers: tuple[float, ...]
    inserted: tuple[Inserted, ...] = ()


def chunk_prompt(
    text: str,
    tokenizer: ClipTokenizer,
    *,
    emphasis: str = "original",
    comma_backtrack: int = 20,
    pad: int = END,
    inserts: Sequence[Insert] = (),
) -> tuple[list[Chunk], int]:
    """(at least one chunk, how many tokens the prompt takes up, gaps before a new chunk included).

    `emphasis` none takes brackets as text; ignore reads them and weighs everything 1; original and no_norm give the same chunks. A chunk
    that is full ends after its last comma if at most `comma_backtrack` tokens follow it. `pad` fills the last chunk. One of the `inserts`
    takes as many places as it has vectors and is never cut in two; none may have more than a chunk's 75.
    """
    writer = _ChunkWriter(tokenizer.comma, comma_backtrack, pad)
    for piece, weight in parse_attention(text) if emphasis != "none" else [(text, 1.0)]:
        if (piece, weight) == BREAK:
            writer.end_chunk()
            continue
        writer.add_all(tokenizer.encode(piece), 1.0 if emphasis == "ignore" else weight, inserts)
    return writer.finish()


def count_tokens(
    prompt: str,
    steps: int,
    tokenizer: ClipTokenizer | None = None,
    *,
    emphasis: str = "original",
    comma_backtrack: int = 20,
    inserts: Sequence[Insert] = (),
) -> tuple[int, int]:
    """(tokens of the longest text that `prompt` ever stands for, the room in the chunks it takes), for the page's counter."""
    text, _ = extract_network_tags(strip_comments(prompt))
    texts = {each for part, _ in split_and(text) for _, each in prompt_schedule(part, steps)}
    shared = tokenizer or clip_tokenizer()
    options: dict[str, Any] = {"emphasis": emphasis, "comma_backtrack": comma_backtrack, "inserts": inserts}
    count = max(chunk_prompt(each, shared, **options)[1] for each in texts)
    return count, max(1, -(-count // CHUNK_LENGTH)) * CHUNK_LENGTH


class _ChunkWriter:
    """The chunk in the making and those that are full."""

    def __init__(self, comma: int, comma_backtrack: int, pad: int) -> None:
        self._comma = comma
        self._backtrack = comma_backtrack
        self._pad = pad
        self._chunks: list[Chunk] = []
        self._tokens: list[int] = []
        self._weights: list[float] = []
        self._inserted: list[Inserted] = []
        self._after_comma = 0
        """Where the text after the last comma starts; 0 when there was none."""

    def add_all(self, tokens: Sequence[int], weight: float, inserts: Sequence[Insert]) -> None:
        position = 0
        while position < len(tokens):
            insert = insert_at(tokens, position, inserts) if inserts else None
            if insert is None:
                self.add(tokens[position], weight)
                position += 1
            else:
                self.add_insert(insert, weight)
                position += len(insert.tokens)

    def add(self, token: int, weight: float) -> None:
        if len(self._tokens) == CHUNK_LENGTH:
            self._wrap(token)
        self._tokens.append(token)
        self._weights.append(weight)
        if token == self._comma:
            self._after_comma = len(self._tokens)

    def add_insert(self, insert: Insert, weight: float) -> None:
        if len(self._tokens) == CHUNK_LENGTH:
            self._wrap(insert.tokens[0])
        if len(self._tokens) + insert.vectors > CHUNK_LENGTH:
            self.end_chunk()
        self._inserted.append(Inserted(1 + len(self._tokens), insert.word))
        self._tokens += [0] * insert.vectors
        self._weights += [weight] * insert.vectors

    def end_chunk(self) -> None:
        gap = CHUNK_LENGTH - len(self._tokens)
        tokens = (START, *self._tokens, *[self._pad] * gap, END)
        self._chunks.append(Chunk(tokens, (1.0, *self._weights, *[1.0] * gap, 1.0), tuple(self._inserted)))
        self._tokens, self._weights, self._inserted, self._after_comma = [], [], [], 0

    def finish(self) -> tuple[list[Chunk], int]:
        count = len(self._chunks) * CHUNK_LENGTH + len(self._tokens)
        if self._tokens or not self._chunks:
            self.end_chunk()
        return self._chunks, count

    def _wrap(self, token: int) -> None:
        """Start a new chunk, taking along what follows the last comma unless that is too much."""
        start = self._after_comma
        tokens, weights = self._tokens[start:], self._weights[start:]
        if token != self._comma and start and len(tokens) < self._backtrack:
            moved = [Inserted(each.place - start, each.word) for each in self._inserted if each.place > start]
            self._inserted = [each for each in self._inserted if each.place <= start]
            del self._tokens[start:], self._weights[start:]
            self.end_chunk()
            self._tokens, self._weights, self._inserted = tokens, weights, moved
        else:
            self.end_chunk()
