"""Captions of scenes as rows of the small vocabulary's ids, with a note of what each caption says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.starter.config import DataConfig
from training.starter.models import EOS
from training.starter.names import COLOURS, LANDSCAPES, NAMES, plural
from training.starter.scenes import Said, Scene, taught, told
from training.starter.styles import STYLES
from training.starter.tokens import SmallVocabulary, padded, words_to_ids

MEANT = ("two", "three", "left", "right", "above", "below", "under", "top", "bottom")
DISTURBED = 0.15  # share of captions with words that say nothing


@dataclass(frozen=True)
class Row:
    """One caption: ids (77,), the place of the first end token, and what it tells of the scene."""

    ids: np.ndarray
    end: int
    said: Said


class CaptionMaker:
    """Writes a fresh caption for a scene each time it is asked."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.names = taught(data)
        self.small = SmallVocabulary()
        self.vocabulary = len(self.small)
        styles = tuple(form for style in STYLES.values() for form in style.after)
        said = (*NAMES, *(plural(name) for name in NAMES), *COLOURS, *LANDSCAPES.values(), *MEANT, *styles)
        known = {i for word in said for i in words_to_ids(word)} - set(words_to_ids("on the in at"))
        self.words: list[int] = sorted(int(self.small.table[i]) for i in known)  # small ids that tell something
        self._end = int(self.small.table[EOS])

    def tokens(self, rng: np.random.Generator, scene: Scene) -> Row:
        """Return one caption of the scene, at times empty, at times with words that say nothing."""
        text, said = told(rng, self.data, scene)
        ids = self.small.table[padded(words_to_ids(text))]
        if rng.random() < DISTURBED:
            ids = self.small.disturb(rng, ids)
        return Row(ids, int(np.argmax(ids == self._end)), said)
