"""The pictures themselves: equal to diffusers' own, the same every time, and the same wherever they stand in a batch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from modules.domain.events import Failed, Finished
from modules.domain.plans import ModelSpec
from modules.domain.requests import Seed
from modules.engine.generate import decode, sample
from modules.engine.resolve import resolve
from modules.families.base import LoadedModel
from modules.settings.schema import Engine, Models, Settings
from modules.weights.manager import ModelManager
from tests.engine.drawing import CPU, Studio, images, pixels, small_request
from tests.tiny_models import (
    FACTOR,
    TinyModel,
    catalog_of,
    checkpoint_info,
    ldm_yaml,
    pipeline_of,
    tiny_model,
    write_checkpoint,
    write_folder,
    write_vae,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return tiny_model()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, model: TinyModel) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    return Studio(folder, catalog_of(write_checkpoint(folder / "models", model=model)))


def embeddings(loaded: LoadedModel, text: str) -> torch.Tensor:
    return loaded.encode_prompts([text], clip_skip=1, emphasis="original", comma_backtrack=20)[0].context.unsqueeze(0)


def ours(studio: Studio, **request: Any) -> tuple[torch.Tensor, list[np.ndarray]]:
    plan = resolve(small_request(**request), studio.settings, studio.catalog, random.Random(0))[0]
    with studio.engine.models.acquire(plan.model) as loaded:
        latents = sample(plan, loaded, lambda *step: None)
        return latents, [decode(plan, loaded, latent) for latent in latents]


def theirs(studio: Studio, model: TinyModel, scheduler: Any, latents: torch.Tensor, steps: int) -> torch.Tensor:
    spec = resolve_spec(studio)
    with studio.engine.models.acquire(spec) as loaded, torch.inference_mode():
        positive, negative = embeddings(loaded, "a red house"), embeddings(loaded, "fog")
        pipe = pipeline_of(model, scheduler)
        return pipe(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            latents=latents.clone(),
            num_inference_steps=steps,
            guidance_scale=7.0,
            height=32,
            width=32,
            output_type="latent",
        ).images


def resolve_spec(studio: Studio) -> ModelSpec:
    return resolve(small_request(), studio.settings, studio.catalog, random.Random(0))[0].model


def noise(seed: int) -> torch.Tensor:
    return torch.randn((1, 4, 32 // FACTOR, 32 // FACTOR), generator=torch.Generator().manual_seed(seed))


def test_euler_equals_diffusers(studio: Studio, model: TinyModel) -> None:
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace")
    latents, _ = ours(studio, steps=8)
    assert torch.allclose(latents, theirs(studio, model, scheduler, noise(7), 8), atol=1e-4 * float(latents.abs().max()))


def test_ddim_equals_diffusers(studio: Studio, model: TinyModel) -> None:
    scheduler = DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    reference = theirs(studio, model, scheduler, noise(7), 10)
    latents, _ = ours(studio, steps=10, sampler="ddim")
    # diffusers goes one step further, to the level of timestep 0, where ours ends at timestep 1 as A1111's does
    assert torch.allclose(latents, reference, atol=0.05 * float(reference.abs().max()))


def test_decoding_equals_diffusers_but_for_rounding(studio: Studio, model: TinyModel) -> None:
    latents, pictures = ours(studio)
    with torch.inference_mode():
        decoded = model.vae.decode(latents / 0.18215).sample[0]
    expected = ((decoded / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert np.abs(pictures[0] - np.floor(expected)).max() <= 1


def test_the_same_request_gives_the_same_pixels(studio: Studio) -> None:
    first, second = studio.draw(sampler="euler_ancestral"), studio.draw(sampler="euler_ancestral")
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], studio.draw(sampler="euler_ancestral", seed=8)[0])


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m", "ddim"])
def test_a_picture_does_not_depend_on_its_place_in_the_batch(studio: Studio, sampler: str) -> None:
    batch = studio.draw(sampler=sampler, batch_size=3, batch_count=2, seed=20)
    assert len(batch) == 6
    for position in (0, 1, 5):
        alone = studio.draw(sampler=sampler, seed=20 + position)[0]
        assert np.abs(alone.astype(int) - batch[position]).max() <= 1


def test_prompt_negative_prompt_scale_and_clip_skip_change_the_picture(studio: Studio) -> None:
    base = studio.draw()[0]
    changes: list[dict[str, Any]] = [
        {"prompt": "a blue boat"},
        {"negative_prompt": "snow"},
        {"cfg_scale": 3.0},
        {"clip_skip": 2},
        {"prompt": "a (red:1.4) house"},
        {"prompt": "a red house AND a tree"},
        {"prompt": "a [red:green:0.5] house"},
        {"seed": Seed(value=7, variation=3, variation_strength=0.3)},
        {"seed": Seed(value=7, resize_from=(16, 16))},
        {"schedule": "karras"},
    ]
    for change in changes:
        assert not np.array_equal(studio.draw(**change)[0], base), change


def test_a_prompt_that_never_changes_is_the_same_as_a_plain_one(studio: Studio) -> None:
    assert np.array_equal(studio.draw(prompt="a [red:red:0.5] house")[0], studio.draw(prompt="a red house")[0])
    assert np.array_equal(studio.draw(prompt="a red house # a comment")[0], studio.draw(prompt="a red house")[0])


def test_scale_1_needs_no_negative_prompt(studio: Studio) -> None:
    assert np.array_equal(studio.draw(cfg_scale=1.0)[0], studio.draw(cfg_scale=1.0, negative_prompt="snow")[0])


def test_prompts_longer_than_a_chunk_meet_short_negatives(studio: Studio) -> None:
    long = ", ".join(f"house number {number}" for number in range(40))
    apart = studio.draw(prompt=long)[0]
    studio.settings = Settings(engine=Engine(pad_prompts=True))
    padded = studio.draw(prompt=long)[0]
    studio.settings = Settings(engine=Engine(batch_guidance=False))
    unbatched = studio.draw(prompt=long)[0]
    studio.settings = Settings()
    assert not np.array_equal(apart, padded)
    assert np.abs(apart.astype(int) - unbatched).max() <= 1


def test_noise_sources_differ_and_nv_is_the_same_everywhere(studio: Studio) -> None:
    gpu = studio.draw()[0]
    studio.settings = Settings(models=Models(noise_source="NV"))
    nv = images(studio.run())[0]
    studio.settings = Settings()
    assert "RNG: NV" in nv.infotext
    assert not np.array_equal(gpu, pixels(nv))


def test_v_prediction_comes_from_the_config_and_only_known_numbers_count(tmp_path: Path, model: TinyModel) -> None:
    plain = write_checkpoint(tmp_path / "models", "plain", model=model)
    same = write_checkpoint(tmp_path / "models", "same", model=model, config=ldm_yaml(unet_config={"target": "os.system"}, foo={"bar": 1}))
    v = write_checkpoint(tmp_path / "models", "v", model=model, config=ldm_yaml(parameterization="v"))
    wrong = write_checkpoint(tmp_path / "models", "wrong", model=model, config=ldm_yaml(parameterization="x0"))
    studio = Studio(tmp_path, catalog_of(plain, same, v, wrong))
    drawn = {name: studio.draw(checkpoint=f"{name}.safetensors")[0] for name in ("plain", "same", "v")}
    assert np.array_equal(drawn["plain"], drawn["same"])
    assert not np.array_equal(drawn["plain"], drawn["v"])
    last = studio.run(checkpoint="wrong.safetensors")[-1]
    assert isinstance(last, Failed)
    assert "wrong.safetensors" in last.reason and "parameterization" in last.reason


def test_a_diffusers_folder_draws_the_same_picture(tmp_path: Path, model: TinyModel) -> None:
    file = write_checkpoint(tmp_path / "models", model=model)
    folder = write_folder(tmp_path / "models" / "flow", model)
    studio = Studio(tmp_path, catalog_of(file, folder))
    assert np.array_equal(studio.draw(checkpoint="tiny.safetensors")[0], studio.draw(checkpoint="flow")[0])


def test_a_ckpt_file_draws_the_same_picture(tmp_path: Path, model: TinyModel) -> None:
    file = write_checkpoint(tmp_path / "models", model=model)
    pickled = tmp_path / "models" / "old.ckpt"
    torch.save({"state_dict": model.tensors(), "epoch": 3}, pickled)
    studio = Studio(tmp_path, catalog_of(file, checkpoint_info(pickled)))
    assert np.array_equal(studio.draw(checkpoint="tiny.safetensors")[0], studio.draw(checkpoint="old.ckpt")[0])


def test_another_vae_changes_the_picture_and_taking_it_away_restores_it(tmp_path: Path, model: TinyModel) -> None:
    file = write_checkpoint(tmp_path / "models", model=model)
    studio = Studio(tmp_path, catalog_of(file, vaes=(write_vae(tmp_path / "vae", "other"),)))
    own = studio.draw()[0]
    event = images(studio.run(vae="other"))[0]
    assert "VAE hash: " in event.infotext and "VAE: other.safetensors" in event.infotext
    assert not np.array_equal(studio.draw(vae="other")[0], own)
    assert np.array_equal(studio.draw(vae="None")[0], own)


def test_an_inpainting_model_draws_from_nothing(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "models", model=tiny_model(in_channels=9))
    studio = Studio(tmp_path, catalog_of(file))
    assert isinstance(studio.run(batch_size=2)[-1], Finished)
    with ModelManager(CPU).acquire(resolve_spec(studio)) as loaded:
        assert loaded.facts.is_inpainting
