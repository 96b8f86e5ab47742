"""Checkpoints small enough to draw with in milliseconds, of the libraries' real classes, written as users' files are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from modules.domain.catalog import Catalog, CheckpointInfo, SamplerInfo, ScheduleInfo, UpscalerInfo, VaeInfo
from modules.sampling.registry import SAMPLERS, SCHEDULES
from training.starter.ldm_keys import text_to_ldm, unet_to_ldm, vae_to_ldm

UNET_CHANNELS = (32, 64)
VAE_CHANNELS = (32, 64)
LAYERS = 1
TEXT_LAYERS = 3
FACTOR = 2 ** (len(VAE_CHANNELS) - 1)


@dataclass(frozen=True)
class TinyModel:
    """The three networks of a model, in float32 and evaluation mode."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel

    def tensors(self) -> dict[str, Tensor]:
        """All weights by their names in an LDM checkpoint."""
        unet = unet_to_ldm(self.unet.state_dict(), len(UNET_CHANNELS), LAYERS)
        return unet | vae_to_ldm(self.vae.state_dict(), len(VAE_CHANNELS), LAYERS) | text_to_ldm(self.text.state_dict())


def tiny_vae(seed: int = 0) -> AutoencoderKL:
    """A KL autoencoder of factor 2."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
        block_out_channels=VAE_CHANNELS,
        layers_per_block=LAYERS,
        latent_channels=4,
    )
    return vae.eval()


def tiny_model(seed: int = 0, *, in_channels: int = 4, sample_size: int = 16) -> TinyModel:
    """A model of SD1's structure with random weights; equal seeds give equal weights."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=UNET_CHANNELS,
        layers_per_block=LAYERS,
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=32, intermediate_size=64, projection_dim=32, num_hidden_layers=TEXT_LAYERS, num_attention_heads=1
    )
    text = CLIPTextModel(config).eval()
    # untrained weights hardly react to the prompt: widen its way in, so that a wrong prompt shows in the picture
    with torch.no_grad():
        text.embeddings.token_embedding.weight.mul_(40)
        for name, parameter in unet.named_parameters():
            if "attn2.to_out.0.weight" in name:
                parameter.mul_(8)
    return TinyModel(unet.eval(), tiny_vae(seed), text)


def ldm_yaml(**params: Any) -> dict[str, Any]:
    """A config file as one lies beside a checkpoint; `params` are those under model.params."""
    stage = {"params": {"ddconfig": {"ch_mult": [1, 2]}}}
    return {"model": {"params": {"image_size": 16, "first_stage_config": stage, **params}}}


def write_checkpoint(
    folder: Path,
    name: str = "tiny",
    *,
    seed: int = 0,
    model: TinyModel | None = None,
    config: dict[str, Any] | None = None,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors,
    metadata: dict[str, str] | None = None,
) -> CheckpointInfo:
    """Write `name`.safetensors in float32, and `config` as the .yaml beside it; `change` may spoil the tensors before.

    `model` is a `TinyModel` or anything else whose `tensors()` are a checkpoint's (`tests.tiny_families`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = change((model or tiny_model(seed)).tensors())
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    if config is not None:
        path.with_suffix(".yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return checkpoint_info(path)


def write_vae(folder: Path, name: str, *, seed: int = 5) -> VaeInfo:
    """Write a VAE file of its own, with the names that such files have."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    tensors = vae_to_ldm(tiny_vae(seed).state_dict(), len(VAE_CHANNELS), LAYERS)
    save_file({key.removeprefix("first_stage_model."): value.contiguous() for key, value in tensors.items()}, path)
    stat = path.stat()
    return VaeInfo(name=path.name, path=str(path), size=stat.st_size, modified=stat.st_mtime_ns / 1e9)


def write_folder(folder: Path, model: TinyModel) -> CheckpointInfo:
    """Write the model as diffusers does."""
    model.unet.save_pretrained(folder / "unet")
    model.vae.save_pretrained(folder / "vae")
    model.text.save_pretrained(folder / "text_encoder")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}), encoding="utf-8")
    return CheckpointInfo(name=folder.name, path=str(folder), format="diffusers", modified=folder.stat().st_mtime_ns / 1e9)


def checkpoint_info(path: Path) -> CheckpointInfo:
    """The catalogue's row for a file."""
    stat = path.stat()
    suffix = path.suffix.lstrip(".")
    return CheckpointInfo(
        name=path.name, path=str(path), format=suffix, size=stat.st_size, modified=stat.st_mtime_ns / 1e9, sha256="ab" * 32
    )


def catalog_of(*checkpoints: CheckpointInfo, vaes: tuple[VaeInfo, ...] = (), upscalers: tuple[UpscalerInfo, ...] = ()) -> Catalog:
    """A catalogue of these files and of all samplers."""
    return Catalog(
        checkpoints=checkpoints,
        vaes=vaes,
        upscalers=upscalers,
        samplers=tuple(
            SamplerInfo(id=row.id, label=row.label, aliases=row.aliases, automatic_schedule=row.automatic_schedule)
            for row in SAMPLERS.values()
        ),
        schedules=tuple(ScheduleInfo(id=row.id, label=row.label, aliases=row.aliases) for row in SCHEDULES.values()),
    )


def pipeline_of(model: TinyModel, scheduler: Any) -> StableDiffusionPipeline:
    """diffusers' own pipeline around the same networks, without a tokenizer: it is given embeddings."""
    pipe = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text,
        tokenizer=None,
        unet=model.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
