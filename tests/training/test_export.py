"""The exported file is what other SD1 programs expect: every key has its place, and the networks compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from diffusers.loaders import single_file_utils as reader
from safetensors import safe_open
from safetensors.torch import load_file

from training.starter.config import TINY, StarterConfig
from training.starter.export import export
from training.starter.ldm_keys import TEXT_PREFIX, unet_to_ldm, vae_to_ldm
from training.starter.models import build_text, build_unet, build_vae
from training.starter.tokens import SmallVocabulary, padded, words_to_ids
from training.starter.train_unet import Denoiser

SHAPES = [
    ((32, 64), (True, False), 1, (32, 32), 1),
    ((32, 64, 64), (False, True, True), 2, (32, 64, 64), 2),
    ((32, 32, 64, 96), (True, True, True, False), 1, (32, 32, 64, 64), 1),
]


@pytest.mark.parametrize(("channels", "attention", "layers", "vae_channels", "vae_layers"), SHAPES)
def test_diffusers_reads_back_what_was_renamed(
    channels: tuple[int, ...], attention: tuple[bool, ...], layers: int, vae_channels: tuple[int, ...], vae_layers: int
) -> None:
    config = replace(
        TINY,
        unet=replace(TINY.unet, channels=channels, attention=attention, layers=layers),
        vae=replace(TINY.vae, channels=vae_channels, layers=vae_layers),
    )
    unet = build_unet(config.unet, 4, 16)
    back = reader.convert_ldm_unet_checkpoint(unet_to_ldm(unet.state_dict(), len(channels), layers), dict(unet.config))
    _assert_same(unet.state_dict(), back)
    vae = build_vae(config.vae, 32)
    renamed = vae_to_ldm(vae.state_dict(), len(vae_channels), vae_layers)
    assert renamed["first_stage_model.decoder.mid.attn_1.q.weight"].ndim == 4
    _assert_same(vae.state_dict(), reader.convert_ldm_vae_checkpoint(renamed, dict(vae.config)))


def _assert_same(weights: dict[str, torch.Tensor], back: dict[str, torch.Tensor]) -> None:
    assert set(weights) == set(back)
    for key, value in weights.items():
        assert torch.equal(value, back[key].reshape(value.shape)), key


def _read(config: StarterConfig, path: Path) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """Build the networks from the file by diffusers' own readers."""
    weights = {k: v.float() for k, v in load_file(path).items()}
    unet = build_unet(config.unet, 4, config.latent_size)
    unet.load_state_dict(reader.convert_ldm_unet_checkpoint(dict(weights), dict(unet.config)))
    vae = build_vae(config.vae, config.data.size)
    converted = reader.convert_ldm_vae_checkpoint(dict(weights), dict(vae.config))
    vae.load_state_dict({k: v.reshape(vae.state_dict()[k].shape) for k, v in converted.items()})
    text = build_text(config.unet)
    text.load_state_dict({k.removeprefix(TEXT_PREFIX): v for k, v in weights.items() if k.startswith(TEXT_PREFIX)})
    return unet.eval(), vae.eval(), text.eval()


@torch.no_grad()
def test_exported_file_draws_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = SmallVocabulary()
    model = Denoiser(TINY, len(small)).eval()
    vae = build_vae(TINY.vae, TINY.data.size).eval()
    path = tmp_path / "model.safetensors"
    export(TINY, vae, model, path)
    unet, vae_read, text = _read(TINY, path)
    ids = torch.from_numpy(padded(words_to_ids("a cat on a blue background, zyxw")))[None]
    x, t = torch.randn(1, 4, 16, 16), torch.tensor([500])
    want = model(x, t, torch.from_numpy(small.table)[ids])
    got = unet(x, t, encoder_hidden_states=text(input_ids=ids).last_hidden_state).sample
    assert torch.allclose(want, got, atol=2e-2)
    assert torch.allclose(vae.decode(x).sample, vae_read.decode(x).sample, atol=2e-2)


def test_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    export(TINY, build_vae(TINY.vae, 32), Denoiser(TINY, len(SmallVocabulary())), path)
    with safe_open(path, "pt") as file:
        assert file.metadata()["modelspec.license"] == "Apache-2.0"
        assert "Open Font License" in file.metadata()["training_data"]
        assert file.get_slice(f"{TEXT_PREFIX}embeddings.token_embedding.weight").get_shape() == [49408, 32]
    config = yaml.safe_load(path.with_suffix(".yaml").read_text("utf-8"))
    assert config["suits"]["cfg_scale"] == TINY.unet.guidance
    assert {"cat", "sky blue background", "in the snow", "sepia"} <= set(config["suits"]["words"])
    params = config["model"]["params"]
    assert params["parameterization"] == "v"
    assert params["unet_config"]["params"]["num_heads"] == TINY.unet.heads
    assert params["unet_config"]["params"]["attention_resolutions"] == [1]
    assert not list(tmp_path.glob("*.part"))
