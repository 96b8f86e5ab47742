"""What holds for every row of the family registry, and so for every family that is ever added to it."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import InvalidRequest, ModelLoadError
from modules.domain.plans import ModelSpec
from modules.families.base import Conditioning, LoadedModel, ModelFamily
from modules.families.registry import FAMILIES
from modules.weights.manager import ModelManager
from modules.weights.residency import DeviceOptions
from tests.tiny_families import TINY, write_tiny, write_tiny_folder
from tests.tiny_models import write_vae

CPU = DeviceOptions(use_cpu=True)
SIDE = 16


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.id)
def family(request: pytest.FixtureRequest) -> ModelFamily:
    return request.param


@pytest.fixture(scope="module")
def manager() -> ModelManager:
    return ModelManager(CPU)


@pytest.fixture(scope="module")
def info(family: ModelFamily, tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    return write_tiny(tmp_path_factory.mktemp("models"), family.id)


@pytest.fixture(scope="module")
def model(info: CheckpointInfo, manager: ModelManager) -> Iterator[LoadedModel]:
    with manager.acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        yield model


def encode(model: LoadedModel, *texts: str, **options: object) -> list[Conditioning]:
    return model.encode_prompts(texts, **{"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20, **options})


def noise(count: int) -> torch.Tensor:
    return torch.randn((count, 4, SIDE, SIDE), generator=torch.Generator().manual_seed(3))


def test_there_is_a_tiny_model_of_each() -> None:
    assert list(TINY) == [family.id for family in FAMILIES]


def test_it_says_what_it_is(family: ModelFamily, model: LoadedModel) -> None:
    facts = model.facts
    assert facts.family == family.id and facts.prediction == "eps" and not facts.is_inpainting
    assert facts.is_sdxl == family.id.startswith("sdxl")
    assert len(model.sigmas) == 1000 and list(model.sigmas) == sorted(model.sigmas)
    assert {"unet", "vae"} < set(model.networks)


def test_sizes(model: LoadedModel) -> None:
    factor = model.facts.factor
    assert model.latent_shape(6 * factor, 10 * factor) == (4, 10, 6)
    with pytest.raises(InvalidRequest, match=f"multiples of {factor}"):
        model.latent_shape(6 * factor + 1, 10 * factor)


def test_texts_are_encoded(model: LoadedModel) -> None:
    red, blue, again = encode(model, "a red house", "a blue boat", "a red house")
    assert red.key == blue.key and red.context.dtype == torch.float32
    assert torch.equal(red.context, again.context) and not torch.allclose(red.context, blue.context)
    assert red.context.shape[0] == 77 and encode(model, "a BREAK b")[0].context.shape[0] == 154
    assert (red.pooled is not None) == model.facts.is_sdxl


def test_emphasis_and_clip_skip_reach_the_encoding(model: LoadedModel) -> None:
    plain = encode(model, "a red house")[0].context
    assert not torch.allclose(encode(model, "a (red:1.5) house")[0].context, plain)
    assert not torch.allclose(encode(model, "a red house", clip_skip=3)[0].context, plain)


def test_padding_adds_empty_chunks(model: LoadedModel) -> None:
    short = encode(model, "a red house")[0]
    padded = model.pad(short, 154, clip_skip=1)
    assert padded.context.shape[0] == 154 and torch.equal(padded.context[:77], short.context)
    assert torch.allclose(padded.context[77:], encode(model, "", emphasis="none")[0].context)
    assert model.pad(short, 77, clip_skip=1) is short


def test_predictions_are_finite_and_go_by_the_text(model: LoadedModel) -> None:
    red, blue = encode(model, "a red house", "a blue boat")
    x = noise(1) * 5
    for sigma in (model.sigmas[-1], 5.0, model.sigmas[0]):
        x0 = model.predict(x, sigma, [red])
        assert x0.shape == x.shape and x0.dtype == torch.float32 and bool(torch.isfinite(x0).all())
    assert not torch.allclose(model.predict(x, 5.0, [red]), model.predict(x, 5.0, [blue]), atol=1e-4)


def test_a_row_does_not_depend_on_the_others(model: LoadedModel) -> None:
    conditionings = [*encode(model, "a red house", "a blue boat"), *encode(model, "", negative=True)]
    x = noise(3) * 5
    together = model.predict(x, 5.0, conditionings)
    for row, conditioning in enumerate(conditionings):
        alone = model.predict(x[row : row + 1], 5.0, [conditioning])[0]
        assert torch.allclose(together[row], alone, atol=1e-4 * float(alone.abs().max()))


def test_latents_become_pictures(model: LoadedModel) -> None:
    factor = model.facts.factor
    pixels = model.decode_latent(noise(1)[0])
    assert pixels is not None and pixels.shape == (SIDE * factor, SIDE * factor, 3)
    assert model.preview(noise(1)[0]).shape == (SIDE, SIDE, 3)


def picture(model: LoadedModel) -> np.ndarray:
    side = SIDE * model.facts.factor
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_pictures_become_latents(model: LoadedModel) -> None:
    latent = model.encode_picture(picture(model))
    assert latent.shape == (4, SIDE, SIDE) and latent.dtype == torch.float32 and bool(torch.isfinite(latent).all())
    assert not model.widen_autoencoder(), "on the CPU it computes in float32 already"
    assert not torch.allclose(latent, model.encode_picture(255 - picture(model)), atol=1e-3)


def test_a_folder_is_the_same_model(family: ModelFamily, model: LoadedModel, tmp_path: Path) -> None:
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=write_tiny_folder(tmp_path / "flow", family.id))) as other, torch.inference_mode():
        assert other.facts == model.facts
        assert other.sigmas == pytest.approx(model.sigmas)
        ours, theirs = encode(model, "a red house, 4k"), encode(other, "a red house, 4k")
        assert torch.allclose(model.predict(noise(1), 2.0, ours), other.predict(noise(1), 2.0, theirs), atol=1e-5)
        decoded, expected = other.decode_latent(noise(1)[0]), model.decode_latent(noise(1)[0])
        assert decoded is not None and expected is not None and (decoded == expected).all()


def test_a_folder_of_2022_is_the_same_model(family: ModelFamily, model: LoadedModel, tmp_path: Path) -> None:
    """Then the autoencoder's attention had other names."""
    info = write_tiny_folder(tmp_path / "old", family.id)
    (file,) = (tmp_path / "old" / "vae").glob("*.safetensors")
    names = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    tensors = {re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], key): value for key, value in load_file(file).items()}
    assert any(".query." in key for key in tensors)
    save_file(tensors, file)
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as other, torch.inference_mode():
        decoded, expected = other.decode_latent(noise(1)[0]), model.decode_latent(noise(1)[0])
        assert decoded is not None and expected is not None and (decoded == expected).all()


def test_a_checkpoint_without_an_autoencoder_draws_with_a_vae_file(family: ModelFamily, tmp_path: Path) -> None:
    def without(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value for key, value in tensors.items() if not key.startswith("first_stage_model.")}

    info, vae = write_tiny(tmp_path, family.id, change=without), write_vae(tmp_path, "vae")
    manager = ModelManager(CPU)
    with pytest.raises(ModelLoadError, match="choose a file as SD VAE"), manager.acquire(ModelSpec(checkpoint=info)):
        pass
    with manager.acquire(ModelSpec(checkpoint=info, vae=vae)) as model, torch.inference_mode():
        assert model.decode_latent(noise(1)[0]) is not None
    with pytest.raises(ModelLoadError, match="choose a file as SD VAE"), manager.acquire(ModelSpec(checkpoint=info)):
        pass


def test_an_inpainting_variant_draws_from_nothing(family: ModelFamily, tmp_path: Path) -> None:
    info = write_tiny(tmp_path, family.id, in_channels=9)
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        assert model.facts.is_inpainting and model.facts.family == family.id
        conditionings = encode(model, "a", "b")
        alone = model.predict(noise(2), 2.0, conditionings)
        assert bool(torch.isfinite(alone).all())
        pixels, whole = picture(model), np.ones(picture(model).shape[:2], np.float32)
        beside = model.masked_picture(pixels, whole, 1.0)
        assert beside.shape == (5, SIDE, SIDE)
        assert torch.allclose(model.predict(noise(2), 2.0, conditionings, beside), alone, atol=1e-5), "all of it is to be drawn"
        seen = model.masked_picture(pixels, whole * 0, 1.0)
        assert torch.equal(seen[0], torch.zeros(SIDE, SIDE)) and torch.allclose(seen[1:], model.encode_picture(pixels), atol=1e-5)
        assert not torch.allclose(model.predict(noise(2), 2.0, conditionings, seen), alone, atol=1e-4)


def test_it_can_be_unloaded_and_loaded_again(info: CheckpointInfo, model: LoadedModel) -> None:
    manager, spec = ModelManager(CPU), ModelSpec(checkpoint=info)
    with manager.acquire(spec) as other, torch.inference_mode():
        again = other.predict(noise(1), 2.0, encode(other, "a"))
    unet = weakref.ref(other.networks["unet"])
    del other
    manager.unload()
    gc.collect()
    assert unet() is None and not manager.holds(spec)
    assert torch.equal(again, model.predict(noise(1), 2.0, encode(model, "a")))
