"""How weights are stored does not matter: float8, half precisions, shards, averages beside the weights or in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import ModelLoadError
from modules.domain.plans import ModelSpec
from modules.families.base import LoadedModel
from modules.weights.manager import ModelManager
from modules.weights.residency import DeviceOptions
from tests.tiny_families import TinyFamilyModel, tiny_refiner
from tests.tiny_models import write_checkpoint

CPU = DeviceOptions(use_cpu=True)

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def tiny() -> TinyFamilyModel:
    return tiny_refiner()


def predicted(info: CheckpointInfo) -> Tensor:
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        assert {parameter.dtype for network in model.networks.values() for parameter in network.parameters()} == {torch.float32}
        return prediction(model)


def prediction(model: LoadedModel) -> Tensor:
    conditioning = model.encode_prompts(["a red house"], clip_skip=1, emphasis="original", comma_backtrack=20)
    return model.predict(torch.ones(1, 4, 8, 8), 1.0, conditioning)


def stored_as(dtype: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_are_converted_as_they_are_read(tmp_path: Path, tiny: TinyFamilyModel, dtype: torch.dtype) -> None:
    stored = write_checkpoint(tmp_path, "stored", model=tiny, change=stored_as(dtype))
    rounded = write_checkpoint(tmp_path, "rounded", model=tiny, change=lambda t: stored_as(torch.float32)(stored_as(dtype)(t)))
    assert Path(stored.path).stat().st_size < Path(rounded.path).stat().st_size * 0.6
    assert torch.equal(predicted(stored), predicted(rounded))


def averages(tensors: Tensors, factor: float) -> Tensors:
    """The UNet's weights times `factor`, under the names that training gives to its averages."""
    unet = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.diffusion_model.")}
    return {"model_ema.decay": torch.ones(()), **{f"model_ema.{name.replace('.', '')}": tensor * factor for name, tensor in unet.items()}}


def test_averages_count_only_where_there_is_nothing_else(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    def alone(tensors: Tensors) -> Tensors:
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("model.diffusion_model.")}
        return {**rest, **averages(tensors, 1.0)}

    plain = predicted(write_checkpoint(tmp_path, "plain", model=tiny))
    beside = write_checkpoint(tmp_path, "beside", model=tiny, change=lambda tensors: {**tensors, **averages(tensors, 0.5)})
    assert torch.equal(predicted(beside), plain)
    assert torch.equal(predicted(write_checkpoint(tmp_path, "alone", model=tiny, change=alone)), plain)


def test_a_projection_kept_the_other_way_round_is_read(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    def linear(tensors: Tensors) -> Tensors:
        name = "conditioner.embedders.0.model.text_projection"
        return {**{key: value for key, value in tensors.items() if key != name}, f"{name}.weight": tensors[name].T.contiguous()}

    assert torch.equal(
        predicted(write_checkpoint(tmp_path, "linear", model=tiny, change=linear)),
        predicted(write_checkpoint(tmp_path, "bare", model=tiny)),
    )


def shard(folder: Path, stem: str) -> None:
    """Split a part's weights in two files with an index, as diffusers does with large ones."""
    tensors = load_file(folder / f"{stem}.safetensors")
    (folder / f"{stem}.safetensors").unlink()
    names = sorted(tensors)
    places: dict[str, str] = {}
    for number, half in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in half}, folder / file)
        places |= dict.fromkeys(half, file)
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_a_folder_in_shards_is_the_same_model(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    whole, sharded = tiny.write_folder(tmp_path / "whole"), tiny.write_folder(tmp_path / "sharded")
    shard(tmp_path / "sharded" / "unet", "diffusion_pytorch_model")
    shard(tmp_path / "sharded" / "text_encoder_2", "model")
    assert torch.equal(predicted(whole), predicted(sharded))


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({"a": "../../secret.safetensors"}, "does not say which files"),
        ({"a": "/etc/passwd"}, "does not say which files"),
        ({}, "does not say which files"),
        ([], "does not say which files"),
        ({"a": "gone.safetensors"}, "gone.safetensors is missing"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, tiny: TinyFamilyModel, places: object, reason: str) -> None:
    info = tiny.write_folder(tmp_path / "flow")
    unet = tmp_path / "flow" / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ModelLoadError, match=reason), ModelManager(CPU).acquire(ModelSpec(checkpoint=info)):
        pass


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("unet", "time_cond_proj_dim", 256, "time_cond_proj_dim"),
        ("unet", "reverse_transformer_layers_per_block", [4, 4], "reverse_transformer_layers_per_block"),
        ("unet", "addition_time_embed_dim", 128, "numbers beside the text"),
        ("unet", "in_channels", 8, "reads 8 channels"),
        ("text_encoder_2", "architectures", ["T5EncoderModel"], "T5EncoderModel"),
        ("scheduler", "prediction_type", "sample", "prediction type 'sample'"),
        ("scheduler", "sigma_data", 0.5, "EDM's noise levels"),
    ],
)
def test_a_folder_that_asks_for_more_is_refused(
    tmp_path: Path, tiny: TinyFamilyModel, part: str, key: str, value: object, reason: str
) -> None:
    info = tiny.write_folder(tmp_path / "flow")
    path = tmp_path / "flow" / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelLoadError, match=reason), ModelManager(CPU).acquire(ModelSpec(checkpoint=info)):
        pass


def test_a_folder_may_stretch_its_noise_and_predict_v(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    info = tiny.write_folder(tmp_path / "flow", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model:
        assert model.facts.prediction == "v" and model.sigmas[-1] > 4000


def test_a_checkpoint_that_says_v_in_all_ways(tmp_path: Path, tiny: TinyFamilyModel) -> None:
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    marked = write_checkpoint(tmp_path, "marked", model=tiny, change=lambda tensors: {**tensors, **marks})
    noted = write_checkpoint(tmp_path, "noted", model=tiny, metadata={"modelspec.prediction_type": "v"})
    for info, stretched in ((marked, True), (noted, False)):
        with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model:
            assert model.facts.prediction == "v" and (model.sigmas[-1] > 4000) == stretched


def test_a_file_that_is_mapped_anew_while_it_is_read_gives_the_same_model(
    tmp_path: Path, tiny: TinyFamilyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = write_checkpoint(tmp_path, "large", model=tiny)
    whole = predicted(info)
    monkeypatch.setattr("modules.weights.sources._MAPPED_ANEW", 1000)
    assert torch.equal(predicted(info), whole)
