"""Hires fix with an upscaler model: the picture it starts from, what is said meanwhile, how it is stopped, and what bad files do."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.domain.events import Cancelled, Failed, Finished, JobEvent, Stage
from modules.domain.requests import HiresPass
from modules.engine.generate import decode, sample
from modules.engine.resolve import resolve
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.settings.schema import Settings, Upscaling
from modules.upscalers.models import UpscalerModels
from modules.upscalers.upscale import upscaled
from modules.weights.scan_upscalers import upscaler_rows
from modules.weights.upscaler_files import read_upscaler
from tests.engine.drawing import Studio, Wishes, images, small_request
from tests.tiny_models import catalog_of, write_checkpoint
from tests.tiny_upscalers import tiny_compact, write_upscaler


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    folder = tmp_path / "ESRGAN"
    write_upscaler(folder / "4x_Tiny.pth", tiny_compact(1))
    write_upscaler(folder / "other.safetensors", tiny_compact(3))
    (folder / "page.pth").write_bytes(b"<html>")
    catalog = catalog_of(write_checkpoint(tmp_path / "models"), upscalers=upscaler_rows([folder]))
    return Studio(tmp_path, catalog, Settings(upscaling=Upscaling(tile=16, tile_overlap=4)))


def hires(upscaler: str = "4x_Tiny", **changes: Any) -> HiresPass:
    return replace(HiresPass(upscaler=upscaler, scale=2.0, denoising_strength=0.0), **changes)


def stages(events: list[JobEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Stage)]


def test_the_second_pass_starts_from_the_models_picture(studio: Studio) -> None:
    """At strength 0 nothing is drawn anew: the result is the upscaled picture after its way through the autoencoder."""
    plan = resolve(small_request(), studio.settings, studio.catalog, random.Random(0))[0]
    info = studio.catalog.upscaler_model("4x_Tiny")
    assert info is not None
    network = UpscalerModels(read_upscaler, torch.device("cpu"), torch.float32).get(info)
    with studio.engine.models.acquire(plan.model) as model, torch.inference_mode():
        first = decode(plan, model, sample(plan, model, lambda *step: None)[0])
        larger = upscaled(first, (64, 64), network, tile=16, overlap=4, progress=lambda *tile: None)
        wanted = decode(plan, model, model.encode_picture(larger))
    (picture,) = studio.draw(hires=hires())
    assert np.abs(picture.astype(int) - wanted).max() <= 1
    assert not np.array_equal(picture, studio.draw(hires=hires("other"))[0])
    assert not np.array_equal(picture, studio.draw(hires=hires("Lanczos"))[0])


def test_tiles_are_told_and_the_model_is_loaded_once(studio: Studio) -> None:
    events = studio.run(hires=hires(scale=1.5), batch_size=2)
    assert isinstance(events[-1], Finished)
    told = stages(events)
    tiles = [f"Upscaling, tile {number} of 9" for number in range(1, 10)]
    assert [text for text in told if text.startswith("Upscaling")] == tiles * 2
    assert told.count("Loading 4x_Tiny") == 1
    assert "Loading 4x_Tiny" not in stages(studio.run(hires=hires()))
    studio.runner.unload()
    assert "Loading 4x_Tiny" in stages(studio.run(hires=hires()))


def test_interrupt_acts_at_the_next_tile(studio: Studio) -> None:
    whole = stages(studio.run(hires=hires(), steps=2))
    stopped_at = whole.index("Upscaling, tile 3 of 9") + 1
    events = studio.run(hires=hires(), steps=2, wishes=Wishes(interrupt_when=lambda asked: asked > stopped_at))
    assert isinstance(events[-1], Cancelled)
    assert not images(events)
    assert stages(events)[-1].startswith("Upscaling, tile ")
    assert "Upscaling, tile 9 of 9" not in stages(events)


def test_the_tiles_are_the_settings(studio: Studio) -> None:
    studio.settings = Settings(upscaling=Upscaling(tile=0))
    assert "Upscaling, tile 1 of 1" in stages(studio.run(hires=hires()))


def test_a_bad_file_fails_the_job_by_its_name_and_the_next_one_works(studio: Studio) -> None:
    events = studio.run(hires=hires("page"))
    assert isinstance(events[-1], Failed)
    assert events[-1].reason.startswith("page.pth can't be loaded: it is not a PyTorch checkpoint")
    assert isinstance(studio.run(hires=hires())[-1], Finished)


def test_a_file_that_went_away_is_named(studio: Studio) -> None:
    for row in studio.catalog.upscalers:
        Path(row.path).unlink()
    for label, name in (("4x_Tiny", "4x_Tiny.pth"), ("other", "other.safetensors")):
        event = studio.run(hires=hires(label))[-1]
        assert isinstance(event, Failed) and event.reason == f"{name} can't be loaded: it is not there any more."


def test_numbers_that_are_no_colours_fail_the_job(studio: Studio, tmp_path: Path) -> None:
    network = tiny_compact()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.sign() * 3e38)
    write_upscaler(tmp_path / "ESRGAN" / "other.safetensors", network)
    event = studio.run(hires=hires("other"))[-1]
    assert isinstance(event, Failed) and "Upscaler other made numbers that are no colours" in event.reason


def test_the_infotext_names_it_and_the_form_reads_it_back(studio: Studio) -> None:
    text = images(studio.run(hires=hires("4X_TINY")))[0].infotext
    assert "Hires upscaler: 4x_Tiny" in text
    assert from_infotext(text, studio.catalog, Settings()).values["hr_upscaler"] == "4x_Tiny"
    elsewhere = from_infotext(text, catalog_of(), Settings())
    assert elsewhere.values["hr_upscaler"] == "Latent"
    assert any("no upscaler called '4x_Tiny'" in note for note in elsewhere.notes)
