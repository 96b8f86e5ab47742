"""Captions of scenes as rows of the small vocabulary's ids, with a note of what each caption says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.starter import pictures
from training.starter.config import DataConfig
from training.starter.models import EOS
from training.starter.names import COLOURS, NAMES
from training.starter.tokens import SmallVocabulary, padded, words_to_ids

DISTURBED = 0.15  # share of captions with words that say nothing


@dataclass(frozen=True)
class Row:
    """One caption: ids (77,), the place of the first end token, and the name and colour said (last index: none)."""

    ids: np.ndarray
    end: int
    said: tuple[int, int]


class CaptionMaker:
    """Writes a fresh caption for a scene each time it is asked."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.names = pictures.taught(data)
        self.small = SmallVocabulary()
        self.vocabulary = len(self.small)
        known = {i for word in (*NAMES, *COLOURS) for i in words_to_ids(word)}
        self.words: list[int] = sorted(int(self.small.table[i]) for i in known)  # small ids that names and colours use
        self._end = int(self.small.table[EOS])

    def tokens(self, rng: np.random.Generator, scene: pictures.Scene) -> Row:
        """Return one caption of the scene, at times empty, at times with words that say nothing."""
        text = pictures.caption(rng, self.data, scene)
        ids = self.small.table[padded(words_to_ids(text))]
        if rng.random() < DISTURBED:
            ids = self.small.disturb(rng, ids)
        name = scene.name if text else len(pictures.NAME_LIST)
        named = text.endswith(f" {pictures.COLOUR_LIST[scene.colour]}") or text.endswith(" background")
        colour = scene.colour if named else len(pictures.COLOUR_LIST)
        return Row(ids, int(np.argmax(ids == self._end)), (name, colour))
