"""SD2: what its text encoder gives, that its pictures are diffusers' own, and how eps and v are told apart where nothing says it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.domain.plans import ModelSpec
from modules.engine.generate import sample
from modules.engine.resolve import resolve
from modules.families.base import LoadedModel
from modules.prompts.tokenizer import clip_tokenizer
from modules.weights.manager import ModelManager
from tests.engine.drawing import CPU, Studio, small_request
from tests.tiny_families import BETAS, TinyFamilyModel, tiny_sd2
from tests.tiny_models import FACTOR, catalog_of, ldm_yaml, write_checkpoint

SIDE = 32


@pytest.fixture(scope="module")
def tiny() -> TinyFamilyModel:
    return tiny_sd2()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFamilyModel) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    plain = write_checkpoint(folder / "models", "plain", model=tiny)
    v = write_checkpoint(folder / "models", "v", model=tiny, config=ldm_yaml(parameterization="v"))
    return Studio(folder, catalog_of(plain, v))


@pytest.fixture(scope="module")
def model(studio: Studio) -> Iterator[LoadedModel]:
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=studio.catalog.checkpoints[0])) as model, torch.inference_mode():
        yield model


def encode(model: LoadedModel, text: str, clip_skip: int = 1) -> Tensor:
    return model.encode_prompts([text], clip_skip=clip_skip, emphasis="original", comma_backtrack=20)[0].context


@pytest.mark.parametrize(("skip", "layer"), [(1, -2), (2, -2), (3, -3), (12, -3)])
def test_the_last_layer_is_never_read_and_the_last_norm_always_applied(
    model: LoadedModel, tiny: TinyFamilyModel, skip: int, layer: int
) -> None:
    tokens = [49406, *clip_tokenizer().encode("a red house"), 49407]
    ids = torch.tensor([tokens + [0] * (77 - len(tokens))])
    text = tiny.texts["text_encoder"]
    expected = text.final_layer_norm(text(ids, output_hidden_states=True).hidden_states[layer])[0]
    assert torch.allclose(encode(model, "a red house", skip), expected, atol=1e-5)
    assert model.facts.text_layers == 3


def test_a_full_chunk_keeps_its_end_mark_at_the_end(model: LoadedModel, tiny: TinyFamilyModel) -> None:
    tokens = [49406, *clip_tokenizer().encode("house " * 75), 49407]
    assert len(tokens) == 77
    text = tiny.texts["text_encoder"]
    expected = text.final_layer_norm(text(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-2])[0]
    assert torch.allclose(encode(model, "house " * 75), expected, atol=1e-5)


def test_an_empty_negative_prompt_is_encoded_like_any_other(model: LoadedModel) -> None:
    negative = model.encode_prompts([""], clip_skip=1, emphasis="original", comma_backtrack=20, negative=True)[0]
    assert torch.equal(negative.context, encode(model, "")) and negative.context.any() and negative.pooled is None


@pytest.mark.parametrize(("name", "prediction"), [("plain", "epsilon"), ("v", "v_prediction")])
def test_euler_equals_diffusers(studio: Studio, model: LoadedModel, tiny: TinyFamilyModel, name: str, prediction: str) -> None:
    plan = resolve(small_request(checkpoint=name, steps=6), studio.settings, studio.catalog, random.Random(0))[0]
    with studio.engine.models.acquire(plan.model) as loaded:
        latents = sample(plan, loaded, lambda *step: None)
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace", prediction_type=prediction)
    with torch.inference_mode():
        expected = pipeline(tiny, scheduler)(
            prompt_embeds=encode(model, "a red house")[None],
            negative_prompt_embeds=encode(model, "fog")[None],
            latents=torch.randn((1, 4, SIDE // FACTOR, SIDE // FACTOR), generator=torch.Generator().manual_seed(7)),
            num_inference_steps=6,
            guidance_scale=7.0,
            width=SIDE,
            height=SIDE,
            output_type="latent",
        ).images
    assert torch.allclose(latents, expected, atol=1e-4 * float(expected.abs().max()))


def pipeline(tiny: TinyFamilyModel, scheduler: Any) -> Any:
    pipe = StableDiffusionPipeline(
        vae=tiny.vae,
        text_encoder=tiny.texts["text_encoder"],
        tokenizer=None,
        unet=tiny.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_what_nothing_says_comes_from_the_network(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    def predicting_v(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        # the output's offset alone: far below a grey input, as minus a bright picture is
        return {**tensors, "model.diffusion_model.out.2.bias": torch.full((4,), -3.0)}

    open_file = write_checkpoint(tmp_path, "open", model=tiny, change=predicting_v)
    said = write_checkpoint(tmp_path, "said", model=tiny, change=predicting_v, metadata={"modelspec.prediction_type": "epsilon"})
    inpainting = write_checkpoint(tmp_path, "inpainting", model=tiny_sd2(in_channels=9), change=predicting_v)
    predictions = []
    for info in (open_file, said, inpainting):
        with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model:
            predictions.append(model.facts.prediction)
    assert predictions == ["v", "eps", "eps"]


@pytest.mark.parametrize(("name", "reason"), [("embedder.model.ln_final.weight", "unCLIP"), ("depth_model.model.x", "depth-to-image")])
def test_its_relatives_are_named(tmp_path: Path, tiny: TinyFamilyModel, name: str, reason: str) -> None:
    info = write_checkpoint(tmp_path, model=tiny, change=lambda tensors: {**tensors, name: torch.zeros(4)})
    with pytest.raises(ModelLoadError, match=reason), ModelManager(CPU).acquire(ModelSpec(checkpoint=info)):
        pass


@pytest.mark.parametrize(
    ("bias", "reason"),
    [(None, "text encoder is incomplete: 3 of"), (torch.zeros(99), r"in_proj_bias' of shape \[33\] where \[64\] is expected")],
)
def test_a_fused_matrix_that_is_missing_or_odd_is_named(tmp_path: Path, tiny: TinyFamilyModel, bias: Tensor | None, reason: str) -> None:
    name = "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias"

    def spoilt(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        rest = {key: value for key, value in tensors.items() if key != name}
        return rest if bias is None else {**rest, name: bias}

    info = write_checkpoint(tmp_path, model=tiny, change=spoilt)
    with pytest.raises(ModelLoadError, match=reason), ModelManager(CPU).acquire(ModelSpec(checkpoint=info)):
        pass
