"""SDXL and its refiner: text encodings by hand, pictures against diffusers' own pipeline, and what is told beside the text."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from torch import Tensor

from modules.domain.plans import ModelSpec
from modules.engine.generate import sample
from modules.engine.resolve import resolve
from modules.families.base import Conditioning, LoadedModel, MicroConditioning
from modules.prompts.tokenizer import clip_tokenizer
from modules.settings.schema import Models, Sdxl, Settings
from modules.weights.manager import ModelManager
from tests.engine.drawing import CPU, Studio, small_request
from tests.tiny_families import BETAS, TinyFamilyModel, tiny_refiner, tiny_sdxl
from tests.tiny_models import FACTOR, catalog_of, write_checkpoint

SIDE = 32


@pytest.fixture(scope="module")
def tiny() -> TinyFamilyModel:
    return tiny_sdxl()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFamilyModel) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    return Studio(
        folder, catalog_of(write_checkpoint(models, "base", model=tiny), write_checkpoint(models, "refiner", model=tiny_refiner()))
    )


@pytest.fixture(scope="module")
def model(studio: Studio) -> Iterator[LoadedModel]:
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=studio.catalog.checkpoints[0])) as model, torch.inference_mode():
        yield model


def encode(model: LoadedModel, *texts: str, **options: Any) -> list[Conditioning]:
    return model.encode_prompts(texts, **{"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20, **options})


def ids(text: str, pad: int) -> Tensor:
    tokens = [49406, *clip_tokenizer().encode(text), 49407]
    return torch.tensor([tokens + [pad] * (77 - len(tokens))])


def states(tiny: TinyFamilyModel, text: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
    """(CLIP's hidden states, OpenCLIP's, the pooled text) of one text, as transformers computes them."""
    with torch.inference_mode():
        first = tiny.texts["text_encoder"](ids(text, 49407), output_hidden_states=True)
        second = tiny.texts["text_encoder_2"](ids(text, 0), output_hidden_states=True)
    return first.hidden_states, second.hidden_states, second.text_embeds


@pytest.mark.parametrize(("skip", "layer"), [(1, -2), (2, -2), (3, -3), (9, -3)])
def test_both_encoders_stop_before_the_last_layer_without_a_norm(model: LoadedModel, tiny: TinyFamilyModel, skip: int, layer: int) -> None:
    first, second, pooled = states(tiny, "a red house")
    ours = encode(model, "a red house", clip_skip=skip)[0]
    assert torch.allclose(ours.context, torch.cat((first[layer], second[layer]), dim=-1)[0], atol=1e-5)
    assert ours.pooled is not None and torch.allclose(ours.pooled, pooled[0], atol=1e-5)


def test_the_text_as_a_whole_is_the_first_chunk_s_and_unweighted(model: LoadedModel) -> None:
    plain, weighted, longer = encode(model, "a red house"), encode(model, "a (red:1.4) house"), encode(model, "a red house BREAK fog")
    assert plain[0].pooled is not None and weighted[0].pooled is not None and longer[0].pooled is not None
    assert torch.allclose(weighted[0].pooled, plain[0].pooled) and torch.allclose(longer[0].pooled, plain[0].pooled, atol=1e-6)


def test_emphasis_keeps_the_mean_of_each_encoder(model: LoadedModel) -> None:
    plain, weighted = encode(model, "a red house")[0].context, encode(model, "a (red:1.4) house")[0].context
    for half in (slice(0, 64), slice(64, 128)):
        assert float(weighted[:, half].mean()) == pytest.approx(float(plain[:, half].mean()), rel=1e-3)
        assert not torch.allclose(weighted[:, half], plain[:, half], atol=1e-3)
    unscaled = encode(model, "a (red:1.4) house", emphasis="no_norm")[0].context
    assert torch.allclose(unscaled[2], plain[2] * 1.4, atol=1e-5) and torch.allclose(unscaled[1], plain[1], atol=1e-5)


def test_only_an_empty_negative_prompt_is_zero(model: LoadedModel) -> None:
    zeros = encode(model, "", negative=True)[0]
    assert zeros.pooled is not None and not zeros.context.any() and not zeros.pooled.any() and zeros.context.shape == (77, 128)
    for texts, negative in (((" ",), True), (("fog",), True), (("", "fog"), True), (("",), False)):
        assert all(
            each.context.any() and each.pooled is not None and each.pooled.any() for each in encode(model, *texts, negative=negative)
        )


def pipeline(tiny: TinyFamilyModel, **scheduler: Any) -> Any:
    """diffusers' own pipeline around the same networks, without tokenizers: it is given embeddings."""
    refiner = "text_encoder" not in tiny.texts
    pipe = (StableDiffusionXLImg2ImgPipeline if refiner else StableDiffusionXLPipeline)(
        vae=tiny.vae,
        text_encoder=tiny.texts.get("text_encoder"),
        text_encoder_2=tiny.texts["text_encoder_2"],
        tokenizer=None,
        tokenizer_2=None,
        unet=tiny.unet,
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace", **scheduler),
        add_watermarker=False,
        **({"requires_aesthetics_score": True} if refiner else {}),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ours(studio: Studio, checkpoint: str, **request: Any) -> Tensor:
    request = small_request(checkpoint=checkpoint, width=SIDE, height=SIDE * 2, steps=6, **request)
    plan = resolve(request, studio.settings, studio.catalog, random.Random(0))[0]
    with studio.engine.models.acquire(plan.model) as loaded:
        return sample(plan, loaded, lambda *step: None)


def noise(seed: int = 7) -> Tensor:
    return torch.randn((1, 4, SIDE * 2 // FACTOR, SIDE // FACTOR), generator=torch.Generator().manual_seed(seed))


def embeddings(loaded: LoadedModel, negative: str) -> dict[str, Tensor]:
    good, bad = encode(loaded, "a red house")[0], encode(loaded, negative, negative=True)[0]
    assert good.pooled is not None and bad.pooled is not None
    return {
        "prompt_embeds": good.context[None],
        "pooled_prompt_embeds": good.pooled[None],
        "negative_prompt_embeds": bad.context[None],
        "negative_pooled_prompt_embeds": bad.pooled[None],
    }


@pytest.mark.parametrize("negative", ["fog", ""])
def test_euler_equals_diffusers(studio: Studio, model: LoadedModel, tiny: TinyFamilyModel, negative: str) -> None:
    with torch.inference_mode():
        expected = pipeline(tiny)(
            **embeddings(model, negative),
            latents=noise(),
            num_inference_steps=6,
            guidance_scale=7.0,
            width=SIDE,
            height=SIDE * 2,
            output_type="latent",
        ).images
    latents = ours(studio, "base", negative_prompt=negative)
    assert torch.allclose(latents, expected, atol=1e-4 * float(expected.abs().max()))


def test_crops_are_told_as_the_settings_say(studio: Studio, model: LoadedModel, tiny: TinyFamilyModel) -> None:
    with torch.inference_mode():
        expected = pipeline(tiny)(
            **embeddings(model, "fog"),
            latents=noise(),
            num_inference_steps=6,
            guidance_scale=7.0,
            width=SIDE,
            height=SIDE * 2,
            crops_coords_top_left=(8, 300),
            output_type="latent",
        ).images
    plain = ours(studio, "base")
    studio.settings = Settings(sdxl=Sdxl(crop_top=8, crop_left=300))
    cropped = ours(studio, "base")
    studio.settings = Settings()
    assert torch.allclose(cropped, expected, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(cropped, plain, atol=1e-3)


def test_the_refiner_draws_alone_as_diffusers_does(studio: Studio) -> None:
    tiny = tiny_refiner()
    spec = ModelSpec(checkpoint=studio.catalog.checkpoint("refiner"))
    with ModelManager(CPU).acquire(spec) as loaded, torch.inference_mode():
        expected = pipeline(tiny)(
            **embeddings(loaded, "fog"),
            # at strength 1 this pipeline starts from noise alone, whatever the picture, and takes latents as they are
            image=noise() * EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace").init_noise_sigma,
            denoising_start=0.0,
            strength=1.0,
            num_inference_steps=6,
            guidance_scale=7.0,
            original_size=(SIDE * 2, SIDE),
            target_size=(SIDE * 2, SIDE),
            output_type="latent",
        ).images
    latents = ours(studio, "refiner")
    assert torch.allclose(latents, expected, atol=1e-4 * float(expected.abs().max()))


def test_the_refiner_hears_the_scores_that_are_set(studio: Studio) -> None:
    plain = ours(studio, "refiner")
    studio.settings = Settings(sdxl=Sdxl(low_score=6.0))
    level = ours(studio, "refiner")
    studio.settings = Settings()
    assert not torch.allclose(plain, level, atol=1e-3)


def test_the_base_model_is_told_no_score(model: LoadedModel) -> None:
    x = noise()
    low, high = (encode(model, "a", micro=MicroConditioning(aesthetic_score=score))[0] for score in (1.0, 9.0))
    assert torch.equal(model.predict(x, 2.0, [low]), model.predict(x, 2.0, [high]))


def test_each_row_of_a_batch_is_told_its_own_numbers(model: LoadedModel) -> None:
    x = noise().repeat(2, 1, 1, 1)
    here, there = (encode(model, "a", micro=MicroConditioning(crop=crop))[0] for crop in ((0, 0), (500, 0)))
    together = model.predict(x, 2.0, [here, there])
    assert torch.allclose(together[1], model.predict(x[:1], 2.0, [there])[0], atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_clip_skip_1_and_2_are_the_same_picture(studio: Studio) -> None:
    first = ours(studio, "base")
    studio.settings = Settings(models=Models(clip_skip=2))
    second = ours(studio, "base")
    studio.settings = Settings(models=Models(clip_skip=3))
    third = ours(studio, "base")
    studio.settings = Settings()
    assert torch.equal(first, second) and not torch.allclose(first, third, atol=1e-3)


def test_align_your_steps_has_its_own_table(studio: Studio) -> None:
    reported: list[float] = []
    plan = resolve(small_request(checkpoint="base", schedule="align_your_steps", steps=11), Settings(), studio.catalog, random.Random(0))[0]
    with studio.engine.models.acquire(plan.model) as loaded:
        sample(plan, loaded, lambda i, x, sigma, x0: reported.append(sigma))
    assert reported[:4] == pytest.approx([14.615, 6.315, 3.771, 2.181])


def test_a_picture_does_not_depend_on_its_place_in_the_batch(studio: Studio) -> None:
    batch = studio.draw(checkpoint="base", batch_size=2, seed=20, prompt="a [red:blue:0.5] house AND fog")
    alone = studio.draw(checkpoint="base", seed=21, prompt="a [red:blue:0.5] house AND fog")[0]
    assert len(batch) == 2 and np.abs(batch[1].astype(int) - alone).max() <= 1
