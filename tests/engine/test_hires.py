"""Hires fix: the sizes, what the second pass starts from, what the picture says about it, and that the form reads it back."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from modules.domain.catalog import LATENT_UPSCALERS, PIXEL_UPSCALERS
from modules.domain.errors import InvalidRequest
from modules.domain.events import Finished
from modules.domain.requests import GenerationRequest, HiresPass
from modules.engine.generate import decode, sample, sample_second
from modules.engine.hires import enlarged
from modules.engine.resolve import hires_size, resolve
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.sampling.sigmas import karras
from modules.settings.schema import Settings
from tests.engine.drawing import Studio, images, pixels, small_request, steps
from tests.tiny_models import catalog_of, tiny_model, write_checkpoint


def no_model(*asked: object) -> NoReturn:
    """Where no upscaler model may be asked for."""
    raise AssertionError(asked)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    return Studio(folder, catalog_of(write_checkpoint(models), write_checkpoint(models, "other", model=tiny_model(3))))


@pytest.mark.parametrize(
    ("asked", "grown", "final"),
    [
        (HiresPass(scale=2.0), (1024, 1536), (1024, 1536)),
        (HiresPass(scale=1.3), (664, 992), (664, 992)),
        (HiresPass(width=768), (768, 1152), (768, 1152)),
        (HiresPass(height=1152), (768, 1152), (768, 1152)),
        (HiresPass(width=1024, height=1024), (1024, 1536), (1024, 1024)),
        (HiresPass(width=512, height=1024), (680, 1024), (512, 1024)),
    ],
)
def test_sizes_follow_a1111s_rule(asked: HiresPass, grown: tuple[int, int], final: tuple[int, int]) -> None:
    assert hires_size((512, 768), asked) == (grown, final)


def test_sizes_beyond_all_measure_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="8192"):
        hires_size((2048, 2048), HiresPass(scale=8.0))
    with pytest.raises(InvalidRequest, match="Resize width"):
        HiresPass(width=9000)


def test_a_latent_upscaler_starts_the_second_pass_from_the_stretched_latents(studio: Studio) -> None:
    """Against a walk written out here: noise of the new size at the level that is left, then Euler's rule."""
    request = small_request(steps=4, schedule="karras", hires=HiresPass(denoising_strength=0.5))
    plan = resolve(request, studio.settings, studio.catalog, random.Random(0))[0]
    assert plan.hires is not None
    with studio.engine.models.acquire(plan.model) as model:
        first = sample(plan, model, lambda *step: None)
        ours = sample_second(plan, plan.hires, model, enlarged(first, plan, plan.hires, model, no_model), lambda *step: None)
        with torch.inference_mode():
            latents = F.interpolate(first, scale_factor=2, mode="bilinear")
            noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(7))
            levels = karras(8, model.sigmas[0], model.sigmas[-1], 7.0)[4:]
            x = latents + noise * levels[0]
            encode: dict[str, Any] = {"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20}
            conditions = [model.encode_prompts([text], **encode)[0] for text in ("a red house", "fog")]
            for level, below in itertools.pairwise(levels):
                positive, negative = model.predict(torch.cat((x, x)), level, conditions)
                x0 = negative + 7.0 * (positive - negative)
                x = x0 + (x - x0) * (below / level)
    assert torch.allclose(ours, x, atol=1e-4 * float(x.abs().max()))


@pytest.mark.parametrize("upscaler", [*LATENT_UPSCALERS, *PIXEL_UPSCALERS])
def test_every_upscaler_gives_a_picture_of_its_own_in_the_second_size(studio: Studio, upscaler: str) -> None:
    event = images(studio.run(hires=HiresPass(upscaler=upscaler, scale=1.5, denoising_strength=0.4)))[0]
    assert (event.width, event.height) == (48, 48)
    assert Image.open(event.staged).size == (48, 48)
    assert f"Hires upscaler: {upscaler}" in event.infotext
    other = "Latent (bicubic)" if upscaler != "Latent (bicubic)" else "Latent"
    assert not np.array_equal(pixels(event), studio.draw(hires=HiresPass(upscaler=other, scale=1.5, denoising_strength=0.4))[0])


def test_a_picture_is_enlarged_and_cut_to_both_sides(studio: Studio) -> None:
    (picture,) = studio.draw(hires=HiresPass(upscaler="Lanczos", width=64, height=32, denoising_strength=0.0))
    assert picture.shape == (32, 64, 3)
    # nothing is drawn anew at strength 0, so it is the first picture's middle, but for the way through the autoencoder
    plan = resolve(small_request(), studio.settings, studio.catalog, random.Random(0))[0]
    with studio.engine.models.acquire(plan.model) as model:
        first = Image.fromarray(decode(plan, model, sample(plan, model, lambda *step: None)[0]))
        middle = first.resize((64, 64), Image.Resampling.LANCZOS).crop((0, 16, 64, 48))
        with torch.inference_mode():
            again = decode(plan, model, model.encode_picture(np.asarray(first.resize((64, 64), Image.Resampling.LANCZOS))))
    assert middle.size == (64, 32)
    # around the cut the networks see other neighbours
    assert np.abs(picture[8:-8].astype(int) - again[24:40]).mean() < 12


def test_the_second_pass_can_have_everything_of_its_own(studio: Studio) -> None:
    base = HiresPass(scale=1.5, denoising_strength=0.6)
    plain = studio.draw(hires=base)[0]
    changes: dict[str, Any] = {
        "steps": 5,
        "sampler": "euler_ancestral",
        "schedule": "exponential",
        "prompt": "a green boat",
        "negative_prompt": "rain",
        "checkpoint": "other.safetensors",
        "denoising_strength": 0.9,
    }
    for name, value in changes.items():
        made = studio.draw(hires=HiresPass(**{"scale": 1.5, "denoising_strength": 0.6, name: value}))[0]
        assert not np.array_equal(made, plain), name
    assert np.array_equal(studio.draw(hires=base)[0], plain)


def test_steps_count_through_both_passes_and_a_batch_equals_its_pictures(studio: Studio) -> None:
    wanted = HiresPass(scale=1.5, steps=2)
    events = studio.run(hires=wanted, batch_size=2)
    assert [(event.step, event.steps) for event in steps(events)] == [(number, 5) for number in range(1, 6)]
    assert isinstance(events[-1], Finished)
    second = pixels(images(events)[1])
    assert np.abs(studio.draw(hires=wanted, seed=8)[0].astype(int) - second).max() <= 1


@pytest.mark.parametrize("sampler", ["ddim", "unipc", "dpm_adaptive", "dpmpp_sde", "lcm", "plms"])
def test_samplers_of_every_kind_make_a_second_pass(studio: Studio, sampler: str) -> None:
    (picture,) = studio.draw(sampler=sampler, steps=4, hires=HiresPass(scale=1.5))
    assert picture.shape == (48, 48, 3)
    assert picture.std() > 1


def test_prompt_timelines_go_on_counting(studio: Studio) -> None:
    """1.5 is the middle of the second pass, 0.5 that of the first: a change at 1.5 leaves the first pass alone."""
    base = HiresPass(scale=1.5, steps=4, denoising_strength=0.8)
    late = studio.draw(prompt="a red [house:boat:1.5]", hires=base)[0]
    assert not np.array_equal(late, studio.draw(prompt="a red house", hires=base)[0])
    assert np.array_equal(studio.draw(prompt="a red [house:boat:1.5]")[0], studio.draw(prompt="a red house")[0])


def test_the_infotext_says_what_differs_and_the_form_reads_it_back(studio: Studio) -> None:
    asked = HiresPass(
        upscaler="Latent (nearest)",
        denoising_strength=0.55,
        steps=4,
        scale=1.5,
        sampler="heun",
        schedule="karras",
        prompt="a boat, near: the sea",
        negative_prompt="rain",
        checkpoint="other.safetensors",
    )
    text = images(studio.run(hires=asked))[0].infotext
    keys = ("Denoising strength: 0.55", "Hires sampler: Heun", "Hires schedule type: Karras", "Hires upscale: 1.5", "Hires steps: 4")
    assert all(key in text for key in keys), text
    assert 'Hires prompt: "a boat, near: the sea"' in text
    values = from_infotext(text, studio.catalog, Settings()).values
    assert values["hr"] is True
    read = (values["hr_upscaler"], values["hires_steps"], values["hr_scale"], values["denoising_strength"])
    assert read == ("Latent (nearest)", 4, 1.5, 0.55)
    assert (values["hr_sampler"], values["hr_scheduler"], values["hires_prompt"]) == ("Heun", "Karras", "a boat, near: the sea")
    assert values["hr_checkpoint"].startswith("other.safetensors")
    plain = images(studio.run())[0].infotext
    assert "Hires" not in plain and "Denoising" not in plain
    assert from_infotext(plain, studio.catalog, Settings()).values["hr"] is False


def test_a_request_with_a_second_pass_survives_the_queues_json() -> None:
    request = small_request(hires=HiresPass(width=96, prompt="x", sampler="euler"))
    assert GenerationRequest.from_json(request.to_json()) == request


def test_an_unknown_upscaler_is_refused(tmp_path: Path) -> None:
    """An upscaler that is not there is refused with the ones that are."""
    catalog = catalog_of(write_checkpoint(tmp_path))
    with pytest.raises(InvalidRequest, match="Lanczos"):
        resolve(small_request(hires=HiresPass(upscaler="Ghost")), Settings(), catalog, random.Random(0))
