"""A new word: vectors that stand for it among a prompt's tokens. Textual inversion, Gal et al. 2022, arXiv:2208.01618."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from modules.families.base import Conditioning, Model
from modules.prompts.tokenizer import ClipTokenizer
from modules.training.learner import encoded

APART = 0.1
"""How far the vectors begin from each other, in deviations of the table's numbers: equal ones would learn the same."""

_FILE_NAMES = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


class NewWord:
    """A `Learner`: the vectors (count, width) of `word` for each of the model's text encoders."""

    def __init__(self, model: Model, tokenizer: ClipTokenizer, word: str, *, count: int, begin_with: str, seed: int) -> None:
        self._word = word
        self._vectors = {
            role: nn.Parameter(_beginning(network, tokenizer.encode(begin_with), count, seed))
            for role, network in model.networks.items()
            if role.startswith("text_encoder")
        }

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return dict(self._vectors)

    @contextmanager
    def attached(self, model: Model) -> Generator[None]:
        model.use_embeddings({self._word: self._vectors})
        try:
            yield
        finally:
            model.use_embeddings({})

    def conditionings(self, model: Model, captions: Sequence[str]) -> list[Conditioning]:
        model.forget_encodings()  # the vectors are others than at the step before
        return encoded(model, captions)

    def file(self) -> Mapping[str, Tensor]:
        made = {role: vectors.detach().float().cpu().contiguous() for role, vectors in self._vectors.items()}
        if len(made) == 1:
            return {"emb_params": next(iter(made.values()))}
        return {_FILE_NAMES[role]: vectors for role, vectors in made.items()}


def _beginning(network: nn.Module, tokens: Sequence[int], count: int, seed: int) -> Tensor:
    """Vectors (count, width) between those of the tokens' own, spread a little; near nothing where there are none."""
    table = cast("Any", network).get_input_embeddings().weight.detach().float()
    spread = float(table.std())
    noise = torch.randn((count, table.shape[1]), generator=torch.Generator().manual_seed(seed)).to(table.device)
    if not tokens:
        return noise * spread
    rows = table[[tokens[place * len(tokens) // count] for place in range(count)]]
    return rows + APART * spread * noise
