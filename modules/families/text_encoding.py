"""How does text become what the UNet attends to? CLIP hidden states of 75-token chunks, with clip skip and A1111's emphasis.

Which words a prompt means at which step is decided before; here a text is a text. One encoder at a time: whose outputs are joined, and
how, is the model's business.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modules.families.base import SD1_READING, Conditioning, Residency, TextReading
from modules.families.insertion import inserted
from modules.prompts.chunks import Chunk, chunk_prompt
from modules.prompts.inserts import Insert, inserts_of
from modules.prompts.tokenizer import END, ClipTokenizer

CACHED_TIMELINES = 64
"""How many prompts' encodings are kept: a job of many pictures encodes each text once."""

ROWS_A_CALL = 32
"""Most chunks that go through the encoder at once: a prompt that changes at each of 1000 steps must not fill the memory."""

Key = tuple[tuple[str, ...], int, str, int]


class ClipTextEncoder:
    """A CLIP text model: hidden states (tokens, width), one row of 77 for each chunk, chunks joined end to end.

    `network` is transformers' `CLIPTextModel`, or, where `reading.pooled`, its `CLIPTextModelWithProjection`.
    """

    def __init__(self, network: Any, tokenizer: ClipTokenizer, residency: Residency, reading: TextReading = SD1_READING) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._residency = residency
        self._reading = reading
        self._cache: OrderedDict[Key, list[Conditioning]] = OrderedDict()
        self._vectors: Mapping[str, Tensor] = {}
        self._inserts: tuple[Insert, ...] = ()

    @property
    def role(self) -> str:
        """Which of the model's networks this is."""
        return self._reading.role

    @property
    def layers(self) -> int:
        return int(self._network.config.num_hidden_layers)

    def encode(self, texts: Sequence[str], *, clip_skip: int, emphasis: str, comma_backtrack: int) -> list[Conditioning]:
        """One conditioning (tokens, width) in float32 for each text, all of one length: shorter texts get empty chunks.

        They are encoded together because "original" emphasis restores the mean over all of them, as A1111 does for the texts of one
        prompt's timeline. `clip_skip` 1 is the last layer, less than `least_skip` means that, and more than the encoder's depth its first
        layer. The text as a whole (`pooled`) is the first chunk's, read at the last layer whatever the clip skip.
        """
        key: Key = (tuple(texts), clip_skip, emphasis, comma_backtrack)
        if key not in self._cache:
            self._cache[key] = self._encode(texts, clip_skip, emphasis, comma_backtrack)
            if len(self._cache) > CACHED_TIMELINES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def clear(self) -> None:
        """Forget all encodings."""
        self._cache.clear()

    def use_vectors(self, vectors: Mapping[str, Tensor]) -> None:
        """From now on these words stand for these vectors (n, width), n at most 75, and no other words do."""
        self._vectors = dict(vectors)
        self._inserts = inserts_of({word: len(rows) for word, rows in vectors.items()}, self._tokenizer)
        self.clear()

    def _encode(self, texts: Sequence[str], clip_skip: int, emphasis: str, comma_backtrack: int) -> list[Conditioning]:
        distinct = list(dict.fromkeys(texts))
        counts = torch.tensor([float(texts.count(text)) for text in distinct], device=self._residency.device)
        rows = self._chunk_rows(distinct, emphasis, comma_backtrack)
        contexts: list[Tensor] = []
        pooled: Tensor | None = None
        for position in range(len(rows[0])):
            chunks = [row[position] for row in rows]
            with inserted(self._network.get_input_embeddings(), chunks, self._vectors):
                hidden, whole = self._read([chunk.tokens for chunk in chunks], clip_skip)
            pooled = whole if position == 0 else pooled
            weights = torch.tensor([chunk.multipliers for chunk in chunks], dtype=torch.float32, device=hidden.device)
            contexts.append(emphasise(hidden, weights, emphasis, counts))
        joined = torch.cat(contexts, dim=1)
        by_text = {text: Conditioning(joined[i], None if pooled is None else pooled[i]) for i, text in enumerate(distinct)}
        return [by_text[text] for text in texts]

    def _chunk_rows(self, texts: Sequence[str], emphasis: str, comma_backtrack: int) -> list[list[Chunk]]:
        options: dict[str, Any] = {"emphasis": emphasis, "comma_backtrack": comma_backtrack, "inserts": self._inserts}
        rows = [list(chunk_prompt(text, self._tokenizer, **options)[0]) for text in texts]
        longest = max(len(row) for row in rows)
        if any(len(row) < longest for row in rows):
            empty = chunk_prompt("", self._tokenizer, **options)[0]
            rows = [row + list(empty) * (longest - len(row)) for row in rows]
        return rows

    def _read(self, tokens: Sequence[Sequence[int]], clip_skip: int) -> tuple[Tensor, Tensor | None]:
        """(n, 77) token ids -> (n, 77, width) float32 at the layer that clip skip says, and (n, width) float32, the pooled text."""
        self._residency.use(self._network)
        ids = torch.tensor([self._padded(row) for row in tokens], dtype=torch.long, device=self._residency.device)
        parts = [self._read_rows(rows, clip_skip) for rows in ids.split(ROWS_A_CALL)]
        hidden = torch.cat([hidden for hidden, _ in parts])
        return hidden, torch.cat([whole for _, whole in parts if whole is not None]) if self._reading.pooled else None

    def _read_rows(self, ids: Tensor, clip_skip: int) -> tuple[Tensor, Tensor | None]:
        depth = max(1, min(max(clip_skip, self._reading.least_skip) - self._reading.dropped, self.layers))
        if depth == 1 and self._reading.final_norm and not self._reading.pooled:
            return self._network(input_ids=ids).last_hidden_state.float(), None
        output = self._network(input_ids=ids, output_hidden_states=True)
        hidden = output.hidden_states[-depth]
        if self._reading.final_norm:
            hidden = self._network.final_layer_norm(hidden)
        return hidden.float(), output.text_embeds.float() if self._reading.pooled else None

    def _padded(self, tokens: Sequence[int]) -> Sequence[int]:
        """The chunk with everything after its text's end mark replaced by this encoder's padding."""
        if self._reading.pad is None:
            return tokens
        kept = tokens.index(END) + 1
        return [*tokens[:kept], *[self._reading.pad] * (len(tokens) - kept)]


def emphasise(hidden: Tensor, weights: Tensor, mode: str, counts: Tensor) -> Tensor:
    """Hidden states (n, tokens, width) times their tokens' weights (n, tokens).

    "original" then scales all of it so that the mean over the n texts (text i counted `counts[i]` times) is what it was; "no_norm" leaves
    it; "none" and "ignore" do not weight.
    """
    if mode in ("none", "ignore"):
        return hidden
    weighted = hidden * weights.unsqueeze(-1)
    if mode != "original" or bool((weights == 1.0).all()):
        return weighted
    share = counts / counts.sum()
    before, after = (hidden.mean(dim=(1, 2)) * share).sum(), (weighted.mean(dim=(1, 2)) * share).sum()
    ratio = before / after
    # an encoder whose mean is nothing but rounding (a last norm without bias) has no mean that could be restored
    sound = torch.isfinite(ratio) & (ratio > 0) & (before.abs() > 1e-5 * hidden.std())
    return weighted * torch.where(sound, ratio, torch.ones_like(ratio))
