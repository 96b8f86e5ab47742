"""Any picture's text, pasted, gives that picture's pixels: alone, whatever batch it came from, and in another process."""

from __future__ import annotations

import multiprocessing
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modules.domain.catalog import Catalog
from modules.domain.requests import GenerationRequest, HiresPass, Refiner, Seed
from modules.gradio_ui.form import NO_REFINER, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE, to_request
from modules.gradio_ui.pasting.infotext import from_infotext, override_entries, parse_overrides
from modules.sampling.registry import SAMPLERS, SCHEDULES
from modules.settings.schema import Models, Sampling, Settings
from modules.settings.values import with_options
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, tiny_model, write_checkpoint

UNTOUCHED: dict[str, Any] = {
    "batch_count": 1,
    "batch_size": 1,
    "subseed": -1,
    "subseed_strength": 0.0,
    "seed_resize_from_w": 0,
    "seed_resize_from_h": 0,
    "hr_scale": 2.0,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hires_steps": 0,
    "denoising_strength": 0.7,
    "hr_checkpoint": SAME_CHECKPOINT,
    "hr_sampler": SAME_SAMPLER,
    "hr_scheduler": SAME_SCHEDULE,
    "hires_prompt": "",
    "hires_neg_prompt": "",
    "refiner_checkpoint": NO_REFINER,
    "refiner_switch_at": 0.8,
    "override_settings": [],
}
"""The form as somebody finds it who only pastes."""

PROMPTS = (
    "a red house",
    "a (red:1.4) [house] AND a blue tree :0.6",
    "a [red:blue:0.4] [house|tree]",
    'one\ntwo, "three": 3x4, Steps: 9 BREAK four',
    "",
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    return Studio(folder, catalog_of(write_checkpoint(models), write_checkpoint(models, "other", model=tiny_model(3))))


def some_request(rng: random.Random) -> dict[str, Any]:
    """A request as people make them: mostly plain, each part present now and then."""

    def now_and_then(value: Any) -> Any:
        return value if rng.random() < 0.3 else None

    seed = Seed(
        value=rng.choice([0, 5, 2**32 + 1]),
        variation=rng.randrange(9),
        variation_strength=rng.choice([0.0, 0.0, 0.25, 1.0]),
        resize_from=now_and_then((64, 32)),
    )
    hires = HiresPass(
        upscaler=rng.choice(["Latent", "Latent (nearest-exact)", "Lanczos"]),
        denoising_strength=rng.choice([0.35, 0.7]),
        steps=rng.choice([0, 3]),
        scale=1.5,
        width=rng.choice([0, 0, 48]),
        sampler=now_and_then("heun"),
        schedule=now_and_then("exponential"),
        checkpoint=now_and_then("other"),
        prompt=rng.choice(["", "a green house"]),
    )
    return {
        "prompt": rng.choice(PROMPTS),
        "negative_prompt": rng.choice(["", "fog, (rain:1.2)"]),
        "width": rng.choice([32, 48]),
        "steps": rng.choice([2, 4, 5]),
        "cfg_scale": rng.choice([1.0, 4.5, 7.0]),
        "sampler": rng.choice([name for name in SAMPLERS if name != "dpm_adaptive"]),
        "schedule": rng.choice(list(SCHEDULES)),
        "seed": seed,
        "batch_size": rng.choice([1, 2, 3]),
        "batch_count": rng.choice([1, 2]),
        "clip_skip": rng.choice([1, 1, 2]),
        "hires": now_and_then(hires),
        "refiner": now_and_then(Refiner(checkpoint="other", switch_at=0.5)),
    }


def some_settings(rng: random.Random) -> Settings:
    return Settings(
        models=Models(
            noise_source=rng.choice(["GPU", "CPU", "NV"]), tiling=rng.random() < 0.2, emphasis=rng.choice(["Original", "No norm"])
        ),
        sampling=Sampling(eta_ancestral=rng.choice([1.0, 0.5]), s_churn=rng.choice([0.0, 3.0]), noise_seed_delta=rng.choice([0, 31337])),
    )


def pasted_request(text: str, studio: Studio) -> tuple[GenerationRequest, Settings]:
    """What a click on Generate asks for once `text` was pasted into an untouched form with untouched settings."""
    pasted = from_infotext(text, studio.catalog, Settings())
    assert pasted.report.verdict != "" and not pasted.report.differences, pasted.report
    overrides = parse_overrides(override_entries(pasted.options, {}))
    settings = with_options(Settings(), {key: value for key, value in overrides if key != "sd_model_checkpoint"})
    request = to_request({**UNTOUCHED, **pasted.values}, studio.catalog, clip_skip=settings.models.clip_skip)
    return replace(request, checkpoint="tiny"), settings


@pytest.mark.parametrize("number", range(24))
def test_each_picture_of_a_job_comes_back_alone(studio: Studio, number: int) -> None:
    rng = random.Random(number)
    request, settings = some_request(rng), some_settings(rng)
    studio.settings = settings
    done = images(studio.run(checkpoint="tiny", **request))
    assert len(done) == request["batch_size"] * request["batch_count"]
    event = rng.choice(done)
    again, studio.settings = pasted_request(event.infotext, studio)
    drawn = images(studio.run(**{name: getattr(again, name) for name in again.__dataclass_fields__}))
    assert len(drawn) == 1
    difference = np.abs(pixels(drawn[0]).astype(int) - pixels(event))
    # a matrix product of several rows rounds its last bit otherwise than that of one
    assert difference.max() <= 1, event.infotext
    assert drawn[0].infotext == event.infotext


def _draw_pasted(folder: Path, catalog: Catalog, text: str, answer: Any) -> None:
    studio = Studio(folder, catalog)
    again, studio.settings = pasted_request(text, studio)
    done = images(studio.run(**{name: getattr(again, name) for name in again.__dataclass_fields__}))
    answer.put(pixels(done[0]).tobytes())


def test_another_process_draws_the_same_pixels(studio: Studio) -> None:
    request = some_request(random.Random(3)) | {"batch_size": 1, "sampler": "dpmpp_sde", "hires": HiresPass(scale=1.5), "refiner": None}
    studio.settings = some_settings(random.Random(3))
    event = images(studio.run(checkpoint="tiny", **request))[0]
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_draw_pasted, args=(studio.folder, studio.catalog, event.infotext, answer))
    process.start()
    assert answer.get(timeout=120) == pixels(event).tobytes()
    process.join()
