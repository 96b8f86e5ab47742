"""The starter's upscaler: its trainer writes what spandrel reads, and the committed file doubles pictures better than a filter does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from spandrel import ImageModelDescriptor, ModelLoader

from training.starter.config import PRESETS, TINY
from training.starter.pictures import FONT_PATHS
from training.starter.train_upscaler import FILE, UpscalerTraining, measured, train_upscaler

pytestmark = pytest.mark.skipif(not any(path.is_file() for path in FONT_PATHS), reason="Noto Color Emoji is not installed")


def test_training_goes_on_where_it_was_and_gives_what_spandrel_reads(tmp_path: Path) -> None:
    training = UpscalerTraining(features=8, convolutions=2, crop=16, batch=2, steps=4)
    made = train_upscaler(TINY, training, tmp_path / "run")
    saved = (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns
    again = train_upscaler(TINY, training, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns == saved, "a run that is over does not begin anew"
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in made.state_dict().items())
    read = ModelLoader().load_from_state_dict(made.state_dict())
    assert isinstance(read, ImageModelDescriptor)
    assert (read.architecture.id, read.scale) == ("Compact", 2)


def test_the_committed_upscaler_beats_lanczos_on_pictures_it_never_saw() -> None:
    model = ModelLoader().load_from_state_dict(load_file(FILE))
    assert isinstance(model, ImageModelDescriptor)
    figures = measured(model.model.eval(), PRESETS["cpu128"], count=12)
    assert figures["network_db"] > figures["lanczos_db"] + 2, figures
