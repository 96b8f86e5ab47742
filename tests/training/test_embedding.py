"""The starter's learned word: its trainer moves nothing but the vectors, and the committed file makes a yellow car of a nonsense word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.domain.events import Finished
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, checkpoint_info
from tests.tiny_networks import embedding_info
from training.starter.config import DEFAULT_FILE, TINY
from training.starter.export import export
from training.starter.models import build_vae
from training.starter.pictures import FONT_PATHS
from training.starter.tokens import SmallVocabulary
from training.starter.train_embedding import FILE, EmbeddingTraining, train_embedding
from training.starter.train_unet import Denoiser


@pytest.mark.skipif(not any(path.is_file() for path in FONT_PATHS), reason="Noto Color Emoji is not installed")
def test_only_the_vectors_learn_and_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = tmp_path / "tiny.safetensors"
    export(TINY, build_vae(TINY.vae, TINY.data.size), Denoiser(TINY, len(SmallVocabulary())), checkpoint)
    untouched = checkpoint.read_bytes()
    little = train_embedding(TINY, EmbeddingTraining(vectors=2, batch=4, steps=1), checkpoint, tmp_path / "little")
    learned = train_embedding(TINY, EmbeddingTraining(vectors=2, batch=4, steps=4), checkpoint, tmp_path / "run")
    saved = (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns
    again = train_embedding(TINY, EmbeddingTraining(vectors=2, batch=4, steps=4), checkpoint, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns == saved, "a run that is over does not begin anew"
    assert learned.shape == (2, TINY.unet.text_width)
    assert not torch.equal(little, learned)
    assert torch.equal(learned, again)
    assert checkpoint.read_bytes() == untouched


def test_the_learned_word_is_a_yellow_car(tmp_path: Path) -> None:
    catalog = replace(catalog_of(checkpoint_info(DEFAULT_FILE)), embeddings=(embedding_info(FILE),))
    studio = Studio(tmp_path, catalog)
    drawn: dict[str, list[np.ndarray[Any, Any]]] = {}
    for thing in ("car", FILE.stem, "qwxz"):
        request = {"prompt": f"a {thing} on a green background", "negative_prompt": "", "width": 128, "height": 128, "steps": 12}
        events = studio.run(cfg_scale=5.0, batch_size=4, **request)
        assert isinstance(events[-1], Finished)
        drawn[thing] = [pixels(event).astype(float) for event in images(events)]
    car, taxi, nonsense = (np.mean([yellow(picture) for picture in drawn[thing]]) for thing in ("car", FILE.stem, "qwxz"))
    assert taxi > 0.08, (car, taxi, nonsense)
    assert taxi > 2 * nonsense and taxi > 20 * car, (car, taxi, nonsense)  # an unknown word draws blobs of any colour


def yellow(picture: np.ndarray[Any, Any]) -> float:
    """The share of the picture that is clearly yellow or orange: hues of 25 to 65 degrees, more than half saturated."""
    r, g, b = picture[..., 0], picture[..., 1], picture[..., 2]
    hue = 60 * (g - b) / np.maximum(r - b, 1)  # where red is the greatest and blue the least
    return float(((r > 170) & (r >= g) & (g >= b) & (b < r / 2) & (hue > 25) & (hue < 65)).mean())
