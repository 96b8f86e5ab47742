"""Enlarging a finished picture, from the request to the staged file: pixels, alpha, chunks, progress, and how it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modules.domain.events import Cancelled, Failed, Finished, ImageDone, JobEvent, Stage, StepDone
from modules.domain.extras import ExtrasRequest
from modules.imaging.files import read_infotext
from modules.jobs.protocol import RunJob
from modules.settings.schema import Saving, Settings, Upscaling
from modules.upscalers.models import UpscalerModels
from modules.upscalers.resize import Pixels, resized
from modules.upscalers.upscale import upscaled
from modules.weights.scan_upscalers import upscaler_rows
from modules.weights.upscaler_files import read_upscaler
from tests.engine.drawing import Studio, Wishes, images, steps
from tests.tiny_models import catalog_of
from tests.tiny_upscalers import tiny_compact, write_upscaler

SOURCE = "a cat\nNegative prompt: fog\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 12, Size: 40x24, Model: tiny"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """No checkpoint at all: none is needed."""
    folder = tmp_path / "ESRGAN"
    write_upscaler(folder / "2x_Tiny.pth", tiny_compact(1))
    write_upscaler(folder / "4x_Tiny.safetensors", tiny_compact(2, scale=4))
    (folder / "page.pth").write_bytes(b"<html>")
    return Studio(tmp_path, catalog_of(upscalers=upscaler_rows([folder])), Settings(upscaling=Upscaling(tile=16, tile_overlap=4)))


def noise(width: int = 40, height: int = 24, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def run(studio: Studio, picture: Pixels, wishes: Wishes | None = None, **request: Any) -> list[JobEvent]:
    job = RunJob(
        job_id="job",
        attempt=1,
        request=ExtrasRequest(image=studio.put(picture), **request),
        settings=studio.settings,
        catalog=studio.catalog,
        entropy=1,
        staging=str(studio.folder / "staging"),
        inputs=str(studio.inputs),
    )
    events: list[JobEvent] = []
    studio.runner.run(job, events.append, wishes or Wishes())
    return events


def made(studio: Studio, picture: Pixels, **request: Any) -> Pixels:
    events = run(studio, picture, **request)
    assert isinstance(events[-1], Finished), events[-1]
    (event,) = images(events)
    with Image.open(event.staged) as image:
        assert image.size == (event.width, event.height)
        return np.asarray(image)


def by_model(studio: Studio, picture: Pixels, label: str, size: tuple[int, int], tile: int = 0) -> Pixels:
    info = studio.catalog.upscaler_model(label)
    assert info is not None
    network = UpscalerModels(read_upscaler, torch.device("cpu"), torch.float32).get(info)
    return upscaled(picture, size, network, tile=tile, overlap=4, progress=lambda *tile: None)


@pytest.mark.parametrize("label", ["Lanczos", "Nearest"])
def test_filters_make_the_size_to_the_pixel(studio: Studio, label: str) -> None:
    picture = noise(35, 21)
    assert np.array_equal(made(studio, picture, resize_by=2.0, upscaler_1=label), resized(picture, (70, 42), label))
    assert made(studio, picture, resize_by=1.5, upscaler_1=label).shape == (32, 52, 3)


@pytest.mark.parametrize(("label", "factor"), [("2x_Tiny", 2.0), ("2x_Tiny", 3.0), ("2x_tiny", 4.0), ("4x_Tiny", 2.0)])
def test_a_model_runs_until_the_factor_is_reached_and_the_rest_is_resized(studio: Studio, label: str, factor: float) -> None:
    picture = noise()
    wanted = by_model(studio, picture, label, (int(40 * factor), int(24 * factor)), tile=16)
    assert np.array_equal(made(studio, picture, resize_by=factor, upscaler_1=label), wanted)


def test_a_second_upscaler_is_mixed_in(studio: Studio) -> None:
    picture = noise()
    asked = {"resize_by": 2.0, "upscaler_1": "Nearest", "upscaler_2": "2x_Tiny"}
    first, second = resized(picture, (80, 48), "Nearest"), by_model(studio, picture, "2x_Tiny", (80, 48), tile=16)
    for share in (0.0, 0.25, 1.0):
        mixed = first * (1 - share) + second.astype(float) * share
        assert np.abs(made(studio, picture, **asked, upscaler_2_visibility=share) - mixed).max() <= 1


def test_scale_to_fills_the_size_and_cuts_the_middle_out(studio: Studio) -> None:
    picture = noise()
    whole = resized(picture, (80, 48), "Nearest")
    asked = {"size": (48, 48), "upscaler_1": "Nearest"}
    assert np.array_equal(made(studio, picture, **asked), whole[:, 16:64])
    assert np.array_equal(made(studio, picture, **asked, crop=False), whole)


def test_what_is_transparent_stays_so(studio: Studio) -> None:
    picture = noise(channels=4)
    result = made(studio, picture, resize_by=2.0, upscaler_1="2x_Tiny")
    assert np.array_equal(result[..., :3], by_model(studio, picture[..., :3].copy(), "2x_Tiny", (80, 48), tile=16))
    alpha = Image.fromarray(picture[..., 3]).resize((80, 48), Image.Resampling.LANCZOS)
    assert np.array_equal(result[..., 3], np.asarray(alpha))


def test_none_leaves_the_picture_as_it_is_and_says_so(studio: Studio) -> None:
    picture = noise()
    assert np.array_equal(made(studio, picture), picture)
    event = run(studio, picture, upscaler_2="Lanczos", upscaler_2_visibility=1.0)[-1]
    assert isinstance(event, Finished) and "left as it was, and Lanczos is only mixed" in event.notes[0]


def chunks(event: ImageDone) -> dict[str, str]:
    with Image.open(event.staged) as image:
        return {str(name): str(value) for name, value in image.info.items()}


def test_the_file_keeps_its_parameters_and_says_what_was_done(studio: Studio) -> None:
    (event,) = images(run(studio, noise(), infotext=SOURCE, upscaler_1="Lanczos"))
    extras = "Postprocess upscale by: 4, Postprocess upscaler: Lanczos"
    assert chunks(event) == {"parameters": SOURCE, "extras": extras}
    assert (event.seed, event.prompt, event.infotext) == (12, "a cat", f"{SOURCE}, {extras}")
    both = {"size": (64, 32), "upscaler_1": "lanczos", "upscaler_2": "nearest", "upscaler_2_visibility": 0.5}
    (event,) = images(run(studio, noise(), **both))
    assert chunks(event) == {
        "extras": "Postprocess upscale to: 64x32, Postprocess crop to: 64x32, Postprocess upscaler: Lanczos, "
        "Postprocess upscaler 2: Nearest, Postprocess upscaler 2 visibility: 0.5"
    }


def test_formats_with_one_text_keep_both_in_it_and_settings_may_want_none(studio: Studio) -> None:
    studio.settings = Settings(saving=Saving(image_format="webp"))
    (event,) = images(run(studio, noise(), infotext=SOURCE, upscaler_1="Lanczos"))
    assert event.staged.endswith(".webp")
    assert read_infotext(event.staged) == f"{SOURCE}, Postprocess upscale by: 4, Postprocess upscaler: Lanczos"
    studio.settings = Settings(saving=Saving(embed_infotext=False))
    (event,) = images(run(studio, noise(), infotext=SOURCE, upscaler_1="Lanczos"))
    assert chunks(event) == {}


def test_each_tile_is_a_step(studio: Studio) -> None:
    events = run(studio, noise(), resize_by=2.0, upscaler_1="2x_Tiny", upscaler_2="Nearest", upscaler_2_visibility=1.0)
    told = steps(events)
    assert [(event.step, event.steps, event.batch, event.batches) for event in told] == [(done, 6, 1, 2) for done in range(6)]
    assert [event.text for event in events if isinstance(event, Stage)][-1] == "Upscaling with Nearest"


def test_interrupt_acts_within_a_tile(studio: Studio) -> None:
    started: list[int] = []

    def after_two_tiles(asked: int) -> bool:
        started.append(asked)
        return len(started) > 4

    events = run(studio, noise(200, 200), Wishes(interrupt_when=after_two_tiles), upscaler_1="2x_Tiny")
    assert isinstance(events[-1], Cancelled) and not images(events)
    assert 1 <= len([event for event in events if isinstance(event, StepDone)]) <= 4


def test_bad_files_and_sizes_fail_the_job_by_name_and_the_next_one_works(studio: Studio) -> None:
    event = run(studio, noise(), upscaler_1="page")[-1]
    assert isinstance(event, Failed) and event.reason.startswith("page.pth can't be loaded")
    event = run(studio, noise(2000, 2000), resize_by=9.0, upscaler_1="Nearest")[-1]
    assert isinstance(event, Failed) and "18000x18000" in event.reason and "smaller" in event.reason
    assert isinstance(run(studio, noise(), upscaler_1="2x_Tiny")[-1], Finished)
