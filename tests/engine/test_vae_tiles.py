"""A picture that there is no memory to decode as a whole is decoded in pieces, says so, and looks the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from modules.domain.events import Failed, Stage
from modules.settings.schema import Engine, Settings
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, write_checkpoint


@pytest.fixture
def studio(tmp_path: Any) -> Studio:
    return Studio(tmp_path, catalog_of(write_checkpoint(tmp_path / "models")))


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders that have no memory for more than 32 x 32 latents at once."""
    real = AutoencoderKL.decode

    def decode(self: AutoencoderKL, z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if z.shape[-1] > 32:
            raise torch.OutOfMemoryError("Tried to allocate more than there is")
        return real(self, z, *args, **kwargs)

    monkeypatch.setattr(AutoencoderKL, "decode", decode)
    monkeypatch.setattr("modules.families.autoencoder.DECODED_TILE", 24)


SIZE = {"width": 80, "height": 80, "steps": 1}


def test_pieces_take_over_and_are_named(studio: Studio, little_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    events = studio.run(**SIZE)
    assert any(isinstance(event, Stage) and "pieces" in event.text for event in events)
    done = images(events)[0]
    assert "VAE tiles: True" in done.infotext
    monkeypatch.undo()
    studio.settings = Settings(engine=Engine(vae_tiles="Always"))
    monkeypatch.setattr("modules.families.autoencoder.DECODED_TILE", 24)
    again = images(studio.run(**SIZE))[0]
    assert again.infotext == done.infotext and np.array_equal(pixels(again), pixels(done))
    studio.settings = Settings()
    whole = pixels(images(studio.run(**SIZE))[0]).astype(int)
    assert pixels(done).shape == whole.shape
    assert np.abs(whole - pixels(done)).mean() < 12


def test_never_means_never(studio: Studio, little_memory: None) -> None:
    studio.settings = Settings(engine=Engine(vae_tiles="Never"))
    events = studio.run(**SIZE)
    assert isinstance(events[-1], Failed) and events[-1].kind == "OutOfMemory"
    studio.settings = Settings()
    assert "VAE tiles" not in images(studio.run(width=32, height=32, steps=1))[0].infotext
