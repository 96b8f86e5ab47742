"""Swapping models: what is loaded when, what stays when loading fails, and that memory does not grow."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from modules.domain.errors import ModelLoadError
from modules.domain.networks import NetworkRef
from modules.domain.plans import ModelSpec
from modules.families.base import LoadedModel
from modules.weights.manager import ModelManager
from modules.weights.placement import Placement
from modules.weights.residency import DeviceOptions
from tests.tiny_models import checkpoint_info, tiny_model, write_checkpoint, write_vae
from tests.tiny_networks import lora_tensors, write_lora

CPU = DeviceOptions(use_cpu=True)


@pytest.fixture
def manager() -> ModelManager:
    return ModelManager(CPU)


def predicted(model: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        conditioning = model.encode_prompts(["a"], clip_skip=1, emphasis="original", comma_backtrack=20)
        return model.predict(torch.ones(1, 4, 8, 8), 1.0, conditioning)


def test_the_same_spec_is_the_same_model_even_when_its_hash_becomes_known(manager: ModelManager, tmp_path: Path) -> None:
    info = write_checkpoint(tmp_path)
    with manager.acquire(ModelSpec(checkpoint=replace(info, sha256=None))) as first:
        pass
    assert manager.holds(ModelSpec(checkpoint=info))
    with manager.acquire(ModelSpec(checkpoint=info)) as second:
        assert second is first


def test_a_changed_file_is_another_model(manager: ModelManager, tmp_path: Path) -> None:
    info = write_checkpoint(tmp_path, seed=0)
    with manager.acquire(ModelSpec(checkpoint=info)) as model:
        before = predicted(model)
    changed = write_checkpoint(tmp_path, seed=1)
    assert not manager.holds(ModelSpec(checkpoint=changed))
    with manager.acquire(ModelSpec(checkpoint=changed)) as model:
        assert not torch.equal(predicted(model), before)


def test_replacing_the_file_of_the_model_in_use_does_no_harm(manager: ModelManager, tmp_path: Path) -> None:
    info = write_checkpoint(tmp_path)
    with manager.acquire(ModelSpec(checkpoint=info)) as model:
        before = predicted(model)
        Path(info.path).write_bytes(b"")
        assert torch.equal(predicted(model), before)


def test_another_vae_exchanges_the_vae_only(manager: ModelManager, tmp_path: Path) -> None:
    info, vae = write_checkpoint(tmp_path), write_vae(tmp_path, "vae")
    with manager.acquire(ModelSpec(checkpoint=info)) as model:
        before = dict(model.networks)
    with manager.acquire(ModelSpec(checkpoint=info, vae=vae)) as model:
        now = model.networks
        assert now["unet"] is before["unet"] and now["text_encoder"] is before["text_encoder"]
        assert now["vae"] is not before["vae"]


def test_a_model_that_fails_leaves_the_old_one(manager: ModelManager, tmp_path: Path) -> None:
    info = write_checkpoint(tmp_path)
    with manager.acquire(ModelSpec(checkpoint=info)) as model:
        before = predicted(model)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(Path(info.path).read_bytes()[:5000])
    with pytest.raises(ModelLoadError), manager.acquire(ModelSpec(checkpoint=checkpoint_info(bad))):
        pass
    with manager.acquire(ModelSpec(checkpoint=info)) as again:
        assert again is model
        assert torch.equal(predicted(again), before)


def test_a_model_that_went_is_really_gone(manager: ModelManager, tmp_path: Path) -> None:
    first, second = write_checkpoint(tmp_path, "a", seed=0), write_checkpoint(tmp_path, "b", seed=1)
    with manager.acquire(ModelSpec(checkpoint=first)) as model:
        predicted(model)
        gone = [weakref.ref(network) for network in model.networks.values()]
    del model
    with manager.acquire(ModelSpec(checkpoint=second)):
        assert [each() for each in gone] == [None, None, None]
    manager.unload()
    gc.collect()
    assert not manager.holds(ModelSpec(checkpoint=second))


def test_models_that_are_kept_come_back_without_their_files(manager: ModelManager, tmp_path: Path) -> None:
    first, second, third = (write_checkpoint(tmp_path, name, seed=seed) for seed, name in enumerate("abc"))
    drawn = ModelSpec(
        checkpoint=first, networks=(NetworkRef(info=write_lora(tmp_path, "ink", lora_tensors(tiny_model())), te=1.0, unet=1.0),)
    )
    manager.keep(2)
    with manager.acquire(ModelSpec(checkpoint=first)) as model:
        bare = predicted(model)
    with manager.acquire(drawn) as model:
        inked = predicted(model)
        assert not torch.equal(inked, bare)
    with manager.acquire(ModelSpec(checkpoint=second)) as model:
        other = predicted(model)
        gone = [weakref.ref(network) for network in model.networks.values()]
    for info in (first, second):
        Path(info.path).unlink()
    for spec, expected in ((drawn, inked), (ModelSpec(checkpoint=second), other), (ModelSpec(checkpoint=first), bare)):
        with manager.acquire(spec) as model:
            assert torch.equal(predicted(model), expected)
    del model
    with manager.acquire(ModelSpec(checkpoint=third)):
        assert [each() for each in gone] == [None, None, None], "it was used longest ago, and two may be kept"
    manager.keep(1)
    with pytest.raises(ModelLoadError), manager.acquire(ModelSpec(checkpoint=first)):
        pass


def test_a_kept_model_takes_the_vae_that_is_wanted_now(manager: ModelManager, tmp_path: Path) -> None:
    first, second, vae = write_checkpoint(tmp_path, "a"), write_checkpoint(tmp_path, "b", seed=1), write_vae(tmp_path, "vae")
    manager.keep(2)
    with manager.acquire(ModelSpec(checkpoint=first, vae=vae)) as model, torch.inference_mode():
        expected = model.decode_latent(torch.ones(4, 8, 8))
        unet = model.networks["unet"]
    with manager.acquire(ModelSpec(checkpoint=second)):
        pass
    with manager.acquire(ModelSpec(checkpoint=first)) as model, torch.inference_mode():
        own = model.decode_latent(torch.ones(4, 8, 8))
        assert own is not None and not np.array_equal(own, expected) and model.networks["unet"] is unet


def test_memory_stays_flat_over_swaps(manager: ModelManager, tmp_path: Path) -> None:
    infos = [write_checkpoint(tmp_path, name, seed=seed) for seed, name in enumerate(("a", "b"))]

    def swap(times: int) -> float:
        for _ in range(times):
            for info in infos:
                with manager.acquire(ModelSpec(checkpoint=info)) as model:
                    predicted(model)
        return psutil.Process().memory_info().rss / 2**20

    warm = swap(4)
    grown = swap(8) - warm
    # a model here is 8 MB: sixteen of them left behind would be 128
    assert grown < 16, f"{grown:.1f} MB"


def test_precisions_follow_the_flags() -> None:
    placement = Placement(CPU)
    assert {placement.dtype(role) for role in ("unet", "text_encoder", "vae")} == {torch.float32}
    assert placement.device.type == "cpu" and placement.describe() == "CPU"


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options", [DeviceOptions(), DeviceOptions(medvram=True), DeviceOptions(lowvram=True), DeviceOptions(no_half_vae=True)]
)
def test_memory_saving_modes_predict_the_same(options: DeviceOptions, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    info = write_checkpoint(tmp_path)
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model:
        expected = predicted(model)
    manager = ModelManager(options)
    with manager.acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        conditioning = model.encode_prompts(["a"], clip_skip=1, emphasis="original", comma_backtrack=20)
        result = model.predict(torch.ones(1, 4, 8, 8, device=model.device), 1.0, conditioning)
        assert model.decode_latent(result[0]) is not None
        assert torch.allclose(result.cpu(), expected, atol=0.05)
    manager.keep(2)
    with manager.acquire(ModelSpec(checkpoint=write_checkpoint(tmp_path, "other", seed=1))):
        if not options.lowvram:
            assert {each.device.type for each in model.networks["unet"].parameters()} == {"cpu"}
    with manager.acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        assert torch.equal(model.predict(torch.ones(1, 4, 8, 8, device=model.device), 1.0, conditioning), result)
    manager.keep(1)
    with manager.acquire(ModelSpec(checkpoint=info)) as base, torch.inference_mode():
        base.predict(torch.ones(1, 4, 8, 8, device=base.device), 1.0, conditioning)
        with manager.acquire(ModelSpec(checkpoint=write_checkpoint(tmp_path, "refiner", seed=2))):
            if not options.lowvram:
                assert {each.device.type for each in base.networks["unet"].parameters()} == {"cpu"}, "a refiner's base makes room"
