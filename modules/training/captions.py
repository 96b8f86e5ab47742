"""What is said of a picture at a step of a training? A line of the template, with the new word and the picture's own words in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def caption(rng: np.random.Generator, lines: Sequence[str], name: str, words: str) -> str:
    """One of the template's lines, drawn by chance. [name] and [filewords] stand for the new word and for `words`."""
    line = lines[int(rng.integers(len(lines)))]
    said = line.replace("[name]", name).replace("[filewords]", words)
    return ", ".join(part for part in (piece.strip() for piece in said.split(",")) if part)
