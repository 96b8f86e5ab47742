"""What a click comes to: seeds, names and settings, and how the infotext tells of it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from modules.domain.catalog import CheckpointInfo, VaeInfo
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.plans import ImagePlan
from modules.domain.requests import HiresPass, Refiner, Seed
from modules.engine.infotext import image_infotext
from modules.engine.resolve import resolve
from modules.imaging.infotext import parse_infotext
from modules.settings.schema import Models, Sampling, Settings
from tests.engine.drawing import small_request
from tests.tiny_models import catalog_of

MODEL = CheckpointInfo(name="art/ink.safetensors", path="/m/art/ink.safetensors", format="safetensors", sha256="12" * 32)
OTHER = CheckpointInfo(name="other.safetensors", path="/m/other.safetensors", format="safetensors")
VAES = (
    VaeInfo(name="mse.safetensors", path="/v/mse.safetensors"),
    VaeInfo(name="art/ink.vae.safetensors", path="/m/art/ink.vae.safetensors"),
)
CATALOG = catalog_of(MODEL, OTHER, vaes=VAES)


def plans(settings: Settings | None = None, entropy: int = 0, **request: Any) -> list[ImagePlan]:
    return resolve(small_request(**request), settings or Settings(), CATALOG, random.Random(entropy))


def line(plan: ImagePlan, position: int = 0) -> str:
    text = image_infotext(plan, position, short_hash=lambda info: "def" if isinstance(info, VaeInfo) else "abc", version="0.1.0")
    return text.splitlines()[-1]


def test_seeds_count_up_over_all_batches() -> None:
    made = plans(seed=100, batch_size=2, batch_count=3)
    assert [plan.seeds for plan in made] == [(100, 101), (102, 103), (104, 105)]
    assert [plan.index for plan in made] == [0, 2, 4]


def test_with_a_variation_the_variation_seed_counts_instead() -> None:
    made = plans(seed=Seed(value=100, variation=7, variation_strength=0.5), batch_size=2, batch_count=2)
    assert [plan.seeds for plan in made] == [(100, 100), (100, 100)]
    assert [plan.variation_seeds for plan in made] == [(7, 8), (9, 10)]
    assert "Variation seed: 8, Variation seed strength: 0.5" in line(made[0], 1)


def test_random_seeds_are_drawn_once_and_again_the_same() -> None:
    first, second, other = plans(seed=-1), plans(seed=-1), plans(seed=-1, entropy=1)
    assert first == second
    assert 0 <= first[0].seeds[0] < 2**32
    assert first[0].seeds != other[0].seeds


@pytest.mark.parametrize(
    ("vae", "expected"),
    [("Automatic", "art/ink.vae.safetensors"), ("None", None), ("mse.safetensors", "mse.safetensors"), ("mse", "mse.safetensors")],
)
def test_vae_names(vae: str, expected: str | None) -> None:
    found = plans(vae=vae)[0].model.vae
    assert (found.name if found else None) == expected
    assert plans(vae="Automatic", checkpoint="other")[0].model.vae is None


def test_what_the_request_leaves_open_comes_from_the_settings() -> None:
    settings = Settings(models=Models(checkpoint="other", vae="mse", clip_skip=2, emphasis="No norm", noise_source="NV"))
    plan = plans(settings)[0]
    assert (plan.model.checkpoint, plan.model.vae, plan.clip_skip, plan.emphasis, plan.noise_source) == (OTHER, VAES[0], 2, "no_norm", "nv")
    asked = plans(settings, checkpoint="ink", vae="None", clip_skip=1)[0]
    assert (asked.model.checkpoint, asked.model.vae, asked.clip_skip) == (MODEL, None, 1)


@pytest.mark.parametrize(
    ("sampler", "schedule", "chosen", "label"),
    [
        ("dpmpp_2m", "automatic", "karras", "Karras"),
        ("euler", "automatic", "uniform", "Automatic"),
        ("euler", "uniform", "uniform", "Uniform"),
        ("k_euler_a", "Karras", "karras", "Karras"),
    ],
)
def test_schedules(sampler: str, schedule: str, chosen: str, label: str) -> None:
    plan = plans(sampler=sampler, schedule=schedule)[0]
    assert (plan.schedule, plan.schedule_label) == (chosen, label)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="nope"):
        plans(sampler="nope")
    with pytest.raises(ModelNotFound, match="nope"):
        plans(checkpoint="nope")
    with pytest.raises(ModelNotFound, match="nope"):
        plans(vae="nope")


def test_the_infotext_has_a1111s_fields_in_a1111s_order() -> None:
    settings = Settings(
        models=Models(clip_skip=2, noise_source="CPU", emphasis="Ignore"),
        sampling=Sampling(s_churn=3.0, s_tmax=5.0, s_noise=1.01, sigma_min=0.1, rho=5.0, eta_ancestral=0.5, noise_seed_delta=31337),
    )
    plan = plans(settings, prompt="a (b)", vae="mse", seed=Seed(value=1, resize_from=(64, 48)))[0]
    assert line(plan) == (
        "Steps: 3, Sampler: Euler, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 32x32, Model hash: abc, Model: ink, "
        "VAE hash: def, VAE: mse.safetensors, Seed resize from: 64x48, Clip skip: 2, RNG: CPU, Sigma churn: 3, Sigma tmax: 5, "
        "Sigma noise: 1.01, Schedule min sigma: 0.1, Schedule rho: 5, Emphasis: Ignore, Version: diffusion-webui v0.1.0"
    )
    ancestral = plans(settings, sampler="euler_ancestral", vae="None")[0]
    assert "ENSD: 31337" in line(ancestral) and "Eta: 0.5" in line(ancestral) and "churn" not in line(ancestral)
    ddim = plans(Settings(sampling=Sampling(eta_ddim=1.0)), sampler="ddim")[0]
    assert "Eta DDIM: 1" in line(ddim)


def test_what_is_written_can_be_read() -> None:
    plan = plans(prompt='a "quoted", text: (x:1.2)\nline two', negative_prompt="no, no", vae="None")[0]
    odd = replace(plan, model=replace(plan.model, checkpoint=replace(MODEL, name="we, ird: name.safetensors")))
    fields = parse_infotext(image_infotext(odd, 0, short_hash=lambda info: None, version=""))
    assert fields["Prompt"] == plan.prompts[0] and fields["Negative prompt"] == "no, no"
    assert fields["Model"] == "we, ird: name" and "Model hash" not in fields and "Version" not in fields


def test_comments_are_not_part_of_the_prompt() -> None:
    assert plans(prompt="a cat # really\nand a dog")[0].prompts[0].split() == ["a", "cat", "and", "a", "dog"]


def test_automatic_is_each_passes_own_schedule() -> None:
    hires = HiresPass(scale=2.0, upscaler="Latent", sampler="euler_a")
    (plan,) = plans(sampler="dpmpp_2m", schedule="automatic", hires=hires)
    assert plan.hires is not None
    assert (plan.schedule, plan.hires.second.schedule) == ("karras", "uniform")
    (plan,) = plans(sampler="euler_a", schedule="automatic", hires=replace(hires, sampler="dpmpp_2m"))
    assert plan.hires is not None
    assert (plan.schedule, plan.hires.second.schedule) == ("uniform", "karras")
    (plan,) = plans(sampler="dpmpp_2m", schedule="exponential", hires=hires)
    assert plan.hires is not None
    assert plan.hires.second.schedule == "exponential"


@pytest.mark.parametrize(("schedule", "second"), [("karras", "Karras"), ("automatic", "Automatic")])
def test_another_sampler_of_the_second_pass_says_its_schedule(schedule: str, second: str) -> None:
    hires = HiresPass(scale=2.0, upscaler="Latent", sampler="euler")
    said = line(plans(sampler="dpmpp_2m", schedule=schedule, hires=hires)[0])
    assert "Schedule type: Karras" in said and f"Hires sampler: Euler, Hires schedule type: {second}, " in said
    assert "Hires schedule" not in line(plans(sampler="dpmpp_2m", schedule=schedule, hires=replace(hires, sampler=None))[0])


def test_the_vae_that_was_asked_for_is_every_models() -> None:
    hires = HiresPass(scale=2.0, upscaler="Latent", checkpoint="other.safetensors")
    refiner = Refiner(checkpoint="other.safetensors", switch_at=0.5)
    settings = Settings(models=Models(vae="None", refiner_pass="first pass"))
    (plan,) = plans(settings, vae="mse.safetensors", hires=hires, refiner=refiner)
    assert plan.hires is not None
    assert plan.refiner is not None
    assert {model.vae for model in (plan.model, plan.hires.second.model, plan.refiner.model)} == {VAES[0]}


def test_a_sampler_that_chooses_its_steps_draws_one_picture_at_a_time_in_either_pass() -> None:
    hires = HiresPass(scale=2.0, upscaler="Latent", sampler="dpm_adaptive")
    made = plans(batch_size=3, hires=hires)
    assert [plan.batch_size for plan in made] == [1, 1, 1]
    assert [len(plan.hires.second.seeds) for plan in made if plan.hires] == [1, 1, 1]
    assert [plan.batch_size for plan in plans(batch_size=3, hires=replace(hires, sampler="euler"))] == [3]
