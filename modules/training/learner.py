"""What is it that learns? The contract between the loop and a new word, or a LoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor

from modules.families.base import Conditioning, Model


class Learner(Protocol):
    """Numbers in float32 that change what a model draws, for as long as they are attached to it. The model's own weights never change."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What learns, by names that are stable over restarts."""
        ...

    def attached(self, model: Model) -> AbstractContextManager[None]:
        """While this is open, the model draws with it."""
        ...

    def conditionings(self, model: Model, captions: Sequence[str]) -> list[Conditioning]:
        """The captions as the attached model reads them, all of one length. Gradients flow to what learns."""
        ...

    def file(self) -> Mapping[str, Tensor]:
        """What the finished file holds, by the names that programs look for."""
        ...


def encoded(model: Model, captions: Sequence[str]) -> list[Conditioning]:
    """The captions as `model` reads them now: as in a picture's prompt, but with brackets and all taken literally."""
    found = [model.encode_prompts([text], clip_skip=1, emphasis="none", comma_backtrack=20)[0] for text in captions]
    longest = max(len(each.context) for each in found)
    return [model.pad(each, longest, clip_skip=1) for each in found]
