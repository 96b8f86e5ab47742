"""Files that are no models: each is refused with its name and the reason, and nothing else happens."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pickle import dumps

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import ModelLoadError
from modules.domain.plans import ModelSpec
from modules.weights.header import read_header
from modules.weights.manager import ModelManager
from modules.weights.residency import DeviceOptions
from tests.tiny_models import checkpoint_info, ldm_yaml, tiny_model, write_checkpoint, write_folder, write_vae

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    return write_checkpoint(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def manager() -> ModelManager:
    return ModelManager(DeviceOptions(use_cpu=True))


def refusal(manager: ModelManager, info: CheckpointInfo) -> str:
    with pytest.raises(ModelLoadError) as caught, manager.acquire(ModelSpec(checkpoint=info)):
        pass
    assert info.name in str(caught.value)
    return str(caught.value)


def without(*prefixes: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: value for name, value in tensors.items() if not name.startswith(prefixes)}


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


CONTENTS = {
    b"": "empty",
    b"abc": "too short",
    b"<!DOCTYPE html><title>404</title>": "web page",
    b"  <html>": "web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1": "Git LFS",
    b"PK\x03\x04 something": "zip",
    b"\x80\x02}q\x00." * 20: "not a safetensors file",
    struct.pack("<Q", 2**60) + b"{" * 20: "not a safetensors file",
    struct.pack("<Q", 5000) + b"{" * 20: "truncated",
    struct.pack("<Q", 20) + b"{" * 20: "damaged",
    struct.pack("<Q", 2) + b"[]" + b" " * 20: "not a safetensors file",
    struct.pack("<Q", 2) + b"{}": "not a model that this version knows",
}


@pytest.mark.parametrize(("content", "reason"), CONTENTS.items())
def test_foreign_content_is_named(manager: ModelManager, tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    assert reason in refusal(manager, checkpoint_info(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("first_stage_model."), "no autoencoder (VAE)"),
        (without("cond_stage_model."), "no text encoder"),
        (without("model.diffusion_model.", "cond_stage_model."), "VAE without the rest"),
        (without("model.diffusion_model.out.2"), "out.2.weight"),
        (without("cond_stage_model.transformer.text_model.final_layer_norm"), "text encoder is incomplete: 2 of"),
        (without("model.diffusion_model.middle_block.1"), "no attention"),
        (renamed("cond_stage_model.transformer", "cond_stage_model.model"), "no complete OpenCLIP text encoder"),
        (renamed("cond_stage_model.transformer", "conditioner.embedders.0.transformer"), "text encoder 'conditioner.embedders.1.model'"),
        (lambda tensors: {"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(2, 2)}, "LoRA"),
        (lambda tensors: {"double_blocks.0.img_attn.qkv.weight": torch.zeros(2, 2)}, "Flux"),
        (lambda tensors: {"emb_params": torch.zeros(2, 768)}, "textual inversion"),
        (lambda tensors: {"some.weight": torch.zeros(2)}, "not a model that this version knows (1 tensors"),
        (lambda t: {**t, "model.diffusion_model.out.0.bias": torch.full((32,), torch.nan)}, "not finite"),
        (lambda t: {**t, "model.diffusion_model.out.0.bias": torch.zeros(33)}, "of shape [33] where [32] is expected"),
        (lambda t: {**t, "model.diffusion_model.out.0.bias": torch.zeros(32, dtype=torch.int8)}, "int8"),
        (lambda t: {**t, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32)}, "shape [32]"),
        (lambda t: {**t, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 7, 3, 3)}, "reads 7 channels"),
        (lambda t: {**t, "model.diffusion_model.middle_block.1.proj_in.scale_weight": torch.ones(1)}, "scaled float8"),
    ],
)
def test_incomplete_and_foreign_models_are_named(
    manager: ModelManager, tmp_path: Path, change: Callable[[Tensors], Tensors], reason: str
) -> None:
    info = write_checkpoint(tmp_path, "odd", change=change)
    assert reason in refusal(manager, info)


@pytest.mark.parametrize("cut", [1, 100, 10_000, 1_000_000])
def test_a_truncated_file_says_how_much_is_missing(manager: ModelManager, good: CheckpointInfo, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(Path(good.path).read_bytes()[:-cut])
    assert f"{cut:,} of" in refusal(manager, checkpoint_info(path))


def test_bytes_after_the_end_are_refused(manager: ModelManager, good: CheckpointInfo, tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(Path(good.path).read_bytes() + b"more")
    assert "4 bytes too many" in refusal(manager, checkpoint_info(path))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ldm_yaml(parameterization="x0"), "parameterization"),
        (ldm_yaml(scale_factor="big"), "scale_factor"),
        (ldm_yaml(scale_factor=float("inf")), "scale_factor"),
        (ldm_yaml(unet_config={"params": {"num_heads": 7}}), "heads"),
        (ldm_yaml(cond_stage_config={"params": {"heads": 5}}), "heads"),
        ([1, 2], "mapping"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(manager: ModelManager, tmp_path: Path, config: object, reason: str) -> None:
    info = write_checkpoint(tmp_path, "m", config=config)
    assert reason in refusal(manager, info)


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def test_a_pickle_is_never_run(manager: ModelManager, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    zipped, bare = tmp_path / "zipped.ckpt", tmp_path / "bare.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(1)}, "callback": _Hostile(marker)}, zipped)
    bare.write_bytes(dumps(_Hostile(marker)))
    assert "more than tensors" in refusal(manager, checkpoint_info(zipped))
    assert "convert it to safetensors" in refusal(manager, checkpoint_info(bare))
    assert not marker.exists()


def test_what_is_no_file_is_refused(manager: ModelManager, tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert "not a file" in refusal(manager, checkpoint_info(folder))
    folder.rmdir()
    assert "not there any more" in refusal(manager, CheckpointInfo(name="gone.safetensors", path=str(folder), format="safetensors"))


@pytest.mark.parametrize("missing", ["vae/config.json", "unet/diffusion_pytorch_model.safetensors", "model_index.json"])
def test_a_folder_with_a_part_missing_is_refused(manager: ModelManager, tmp_path: Path, missing: str) -> None:
    info = write_folder(tmp_path / "flow", tiny_model())
    (tmp_path / "flow" / missing).unlink()
    assert "missing" in refusal(manager, info)


def test_a_folder_without_a_unet_is_named(manager: ModelManager, tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusion3Pipeline"}))
    info = CheckpointInfo(name="flow", path=str(folder), format="diffusers")
    assert "'StableDiffusion3Pipeline' without a unet" in refusal(manager, info)


def test_a_folder_of_other_classes_is_refused(manager: ModelManager, tmp_path: Path) -> None:
    info = write_folder(tmp_path / "flow", tiny_model())
    (tmp_path / "flow" / "model_index.json").write_text(json.dumps({"_class_name": "EvilPipeline"}))
    assert "EvilPipeline" in refusal(manager, info)


def test_a_vae_of_other_latents_is_refused_and_the_model_stays(manager: ModelManager, good: CheckpointInfo, tmp_path: Path) -> None:
    vae = write_vae(tmp_path, "fine")
    tensors = {"encoder.conv_in.weight": torch.zeros(32, 3, 3, 3)}
    save_file(tensors, tmp_path / "odd.safetensors")
    with manager.acquire(ModelSpec(checkpoint=good, vae=vae)):
        pass
    odd = replace(vae, name="odd.safetensors", path=str(tmp_path / "odd.safetensors"))
    with pytest.raises(ModelLoadError, match=r"odd\.safetensors"), manager.acquire(ModelSpec(checkpoint=good, vae=odd)):
        pass
    assert manager.holds(ModelSpec(checkpoint=good, vae=vae))


def _small_file() -> bytes:
    return save({"a": torch.zeros(4, 4), "b": torch.ones(3)})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_damaged_headers_raise_nothing_else(tmp_path: Path, position: int, value: int, cut: int) -> None:
    data = bytearray(_small_file())
    data[position % len(data)] = value
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        entries = read_header(path)
    except ModelLoadError:
        return
    assert all(all(side >= 0 for side in entry.shape) for entry in entries.values())
