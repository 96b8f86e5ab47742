"""The starter's LoRA: its trainer writes what the program reads, and the committed file draws in lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.domain.events import Finished
from modules.domain.networks import LoraInfo
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, checkpoint_info
from tests.tiny_networks import write_lora
from training.starter.config import DEFAULT_FILE, TINY
from training.starter.export import export
from training.starter.models import build_vae
from training.starter.pictures import FONT_PATHS
from training.starter.tokens import SmallVocabulary
from training.starter.train_lora import FILE, LoraTraining, line_art, train_lora
from training.starter.train_unet import Denoiser

needs_font = pytest.mark.skipif(not any(path.is_file() for path in FONT_PATHS), reason="Noto Color Emoji is not installed")


def saturation(picture: np.ndarray[Any, Any]) -> float:
    """How far the colour channels are from one another, on average."""
    return float(np.ptp(picture.astype(float), axis=2).mean())


def test_line_art_keeps_outlines_only() -> None:
    picture = np.full((64, 64, 3), (40, 120, 240), dtype=np.uint8)
    picture[16:48, 16:48] = (240, 60, 20)
    drawn = line_art(picture)
    assert saturation(drawn) == 0
    assert (drawn[4, 4] == 255).all()
    assert (drawn[32, 32] == 255).all()
    assert drawn[32, 16].max() < 100


@needs_font
def test_training_writes_a_lora_that_the_program_applies_whole_and_resumes_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = tmp_path / "tiny.safetensors"
    export(TINY, build_vae(TINY.vae, TINY.data.size), Denoiser(TINY, len(SmallVocabulary())), checkpoint)
    training = LoraTraining(rank=2, pictures=8, batch=4, steps=4)
    once = train_lora(TINY, training, checkpoint, tmp_path / "once")
    saved = (tmp_path / "once" / "checkpoint.pt").stat().st_mtime_ns
    again = train_lora(TINY, training, checkpoint, tmp_path / "once")
    assert (tmp_path / "once" / "checkpoint.pt").stat().st_mtime_ns == saved, "a run that is over does not begin anew"
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert max(float(tensor.abs().max()) for name, tensor in once.items() if "lora_up" in name) > 0
    studio = Studio(tmp_path, replace(catalog_of(checkpoint_info(checkpoint)), loras=(write_lora(tmp_path, "taught", once),)))
    request: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "negative_prompt": ""}
    events = studio.run(prompt="a cat <lora:taught:1>", **request)
    assert isinstance(events[-1], Finished)
    assert events[-1].notes == ()
    assert (pixels(images(events)[0]) != studio.draw(prompt="a cat", **request)[0]).any()


def test_the_starters_lora_takes_the_colours_and_leaves_the_object(tmp_path: Path) -> None:
    stat = FILE.stat()
    lora = LoraInfo(name=FILE.name, path=str(FILE), size=stat.st_size, modified=stat.st_mtime)
    studio = Studio(tmp_path, replace(catalog_of(checkpoint_info(DEFAULT_FILE)), loras=(lora,)))
    drawn: list[Any] = []
    for weight in (0.0, 0.5, 1.0):
        prompt = f"a tree on a green background <lora:{FILE.stem}:{weight}>"
        events = studio.run(prompt=prompt, negative_prompt="", width=128, height=128, steps=12, cfg_scale=5.0)
        assert isinstance(events[-1], Finished)
        assert events[-1].notes == ()
        drawn.append(pixels(images(events)[0]))
    saturations = [saturation(picture) for picture in drawn]
    assert saturations[0] > saturations[1] > saturations[2], saturations
    assert saturations[2] < saturations[0] / 2, saturations
    assert drawn[2].std() > 25, "an empty sheet has no colours either"
