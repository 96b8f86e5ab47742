"""Tiny models of SD2's, SDXL's and its refiner's structure, of the libraries' real classes, as LDM files and as diffusers folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.domain.catalog import CheckpointInfo
from tests.tiny_models import VAE_CHANNELS, tiny_model, tiny_vae, write_checkpoint, write_folder
from training.starter.ldm_keys import UNET_PREFIX, unet_to_ldm, vae_to_ldm

Weights = Mapping[str, Tensor]

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
WIDTH = 64
"""Of each text encoder, and of the pooled text."""

TEXT_LAYERS = 3
LAYERS = 1


@dataclass(frozen=True)
class TinyFamilyModel:
    """A model's networks, in float32 and evaluation mode; `texts` by role, with as many layers as a single file holds."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    texts: Mapping[str, CLIPTextModel | CLIPTextModelWithProjection]
    text_names: Mapping[str, Callable[[Weights], dict[str, Tensor]]]
    """For each role, its weights' names in a single file."""
    pipeline: str
    scaling_factor: float

    def tensors(self) -> dict[str, Tensor]:
        """All weights by their names in a single file."""
        unet = unet_names(self.unet.state_dict(), len(self.unet.config["block_out_channels"]), LAYERS)
        vae = vae_to_ldm(self.vae.state_dict(), len(VAE_CHANNELS), LAYERS)
        texts = [self.text_names[role](text.state_dict()) for role, text in self.texts.items()]
        return {name: tensor for part in (unet, vae, *texts) for name, tensor in part.items()}

    def write_folder(self, folder: Path, **scheduler: Any) -> CheckpointInfo:
        """Write the model as diffusers does."""
        self.unet.save_pretrained(folder / "unet")
        self.vae.register_to_config(scaling_factor=self.scaling_factor)
        self.vae.save_pretrained(folder / "vae")
        for role, text in self.texts.items():
            (text if self.pipeline != "StableDiffusionPipeline" else without_last_layer(text)).save_pretrained(folder / role)
        EulerDiscreteScheduler(**{**BETAS, **scheduler}).save_pretrained(folder / "scheduler")
        absent = {role: [None, None] for role in ("text_encoder", "text_encoder_2") if role not in self.texts}
        (folder / "model_index.json").write_text(json.dumps({"_class_name": self.pipeline, **absent}), encoding="utf-8")
        return CheckpointInfo(name=folder.name, path=str(folder), format="diffusers", modified=folder.stat().st_mtime_ns / 1e9)


def tiny_sd2(*, in_channels: int = 4) -> TinyFamilyModel:
    """OpenCLIP, linear projections, one transformer a level."""
    unet = _unet((1, 0), in_channels=in_channels, cross_attention_dim=WIDTH)
    texts = {"text_encoder": _text(CLIPTextModel, "gelu")}
    names = {"text_encoder": lambda weights: open_clip_names(weights, "cond_stage_model.model.")}
    return TinyFamilyModel(unet, tiny_vae(), texts, names, "StableDiffusionPipeline", 0.18215)


def tiny_sdxl(*, in_channels: int = 4) -> TinyFamilyModel:
    """Two text encoders, the first level without attention, the others with more and more transformers."""
    unet = _unet((0, 1, 2), in_channels=in_channels, cross_attention_dim=2 * WIDTH, vector=WIDTH + 6 * 256)
    texts = {"text_encoder": _text(CLIPTextModel, "quick_gelu"), "text_encoder_2": _text(CLIPTextModelWithProjection, "gelu")}
    names = {
        "text_encoder": lambda weights: _prefixed(weights, "conditioner.embedders.0.transformer.text_model."),
        "text_encoder_2": lambda weights: open_clip_names(weights, "conditioner.embedders.1.model."),
    }
    return TinyFamilyModel(unet, tiny_vae(), texts, names, "StableDiffusionXLPipeline", 0.13025)


def tiny_refiner(*, in_channels: int = 4) -> TinyFamilyModel:
    """OpenCLIP alone, the first and the last level without attention."""
    unet = _unet((0, 2, 0), in_channels=in_channels, cross_attention_dim=WIDTH, vector=WIDTH + 5 * 256, middle=2)
    texts = {"text_encoder_2": _text(CLIPTextModelWithProjection, "gelu")}
    names = {"text_encoder_2": lambda weights: open_clip_names(weights, "conditioner.embedders.0.model.")}
    return TinyFamilyModel(unet, tiny_vae(), texts, names, "StableDiffusionXLImg2ImgPipeline", 0.13025)


TINY: dict[str, Callable[..., Any]] = {"sd1": tiny_model, "sd2": tiny_sd2, "sdxl": tiny_sdxl, "sdxl_refiner": tiny_refiner}
"""By family id: a tiny model, which takes `in_channels`."""


def write_tiny(
    folder: Path, family: str, *, in_channels: int = 4, change: Callable[[Weights], Weights] = lambda each: each
) -> CheckpointInfo:
    """A tiny single file of a family; `change` may spoil its tensors before."""
    return write_checkpoint(folder, family, model=TINY[family](in_channels=in_channels), change=change)


def write_tiny_folder(folder: Path, family: str) -> CheckpointInfo:
    """A tiny diffusers folder of a family."""
    model = TINY[family]()
    return model.write_folder(folder) if isinstance(model, TinyFamilyModel) else write_folder(folder, model)


def unet_names(weights: Weights, levels: int, layers: int) -> dict[str, Tensor]:
    """A UNet's weights under their names in a single file; what it is told goes through `label_emb`."""
    told = {"add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2."}
    renamed = unet_to_ldm({name: tensor for name, tensor in weights.items() if not name.startswith(tuple(told))}, levels, layers)
    for ours, theirs in told.items():
        renamed |= {UNET_PREFIX + theirs + name.removeprefix(ours): tensor for name, tensor in weights.items() if name.startswith(ours)}
    return renamed


def open_clip_names(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """A text encoder's weights as OpenCLIP keeps them: one matrix for query, key and value, and the projection the other way round."""
    inner = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    renamed = {
        "token_embedding.weight": inner["embeddings.token_embedding.weight"],
        "positional_embedding": inner["embeddings.position_embedding.weight"],
        "ln_final.weight": inner["final_layer_norm.weight"],
        "ln_final.bias": inner["final_layer_norm.bias"],
        "logit_scale": inner["final_layer_norm.bias"].new_ones(()),
    }
    if "text_projection.weight" in inner:
        renamed["text_projection"] = inner["text_projection.weight"].T.contiguous()
    modules = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "self_attn.out_proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    for layer in range(sum(name.endswith("layer_norm1.bias") for name in inner)):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            thirds = [inner[f"{ours}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            renamed[f"{theirs}attn.in_proj_{kind}"] = torch.cat(thirds)
            renamed |= {f"{theirs}{new}.{kind}": inner[f"{ours}{old}.{kind}"] for old, new in modules.items()}
    return {prefix + name: tensor for name, tensor in renamed.items()}


def without_last_layer(text: CLIPTextModel) -> CLIPTextModel:
    """The same text encoder with one layer less, as SD2's folders hold it."""
    config = CLIPTextConfig(**{**text.config.to_dict(), "num_hidden_layers": text.config.num_hidden_layers - 1})
    shorter = CLIPTextModel(config)
    shorter.load_state_dict({name: tensor for name, tensor in text.state_dict().items() if name in shorter.state_dict()})
    return shorter.eval()


def _unet(
    depths: tuple[int, ...], *, in_channels: int, cross_attention_dim: int, vector: int | None = None, middle: int | None = None
) -> UNet2DConditionModel:
    """A UNet with so many transformers at each level."""
    torch.manual_seed(0)
    channels = (64, 64, 128)[: len(depths)]
    down = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths)
    addition = {} if vector is None else {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        down_block_types=down,
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
        block_out_channels=channels,
        layers_per_block=LAYERS,
        transformer_layers_per_block=(*(depth or 1 for depth in depths[:-1]), middle or depths[-1] or 1),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=tuple(count // 64 for count in channels),
        use_linear_projection=True,
        projection_class_embeddings_input_dim=vector,
        **addition,
    )
    # untrained weights hardly react to the prompt: widen its way in, so that a wrong prompt shows in the picture
    _scale(unet, "attn2.to_out.0.weight", 8)
    _scale(unet, "add_embedding.linear_2.weight", 8)
    return unet.eval()


def _text(network: Callable[[CLIPTextConfig], Any], activation: str) -> Any:
    torch.manual_seed(1 if activation == "gelu" else 2)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=WIDTH,
        intermediate_size=128,
        projection_dim=WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=1,
        hidden_act=activation,
    )
    text = network(config).eval()
    _scale(text, "token_embedding.weight", 40)
    # norms and biases that do something, so that leaving one out shows
    with torch.no_grad():
        for name, parameter in text.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return text


def _scale(network: nn.Module, end: str, factor: float) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(end):
                parameter.mul_(factor)


def _prefixed(weights: Weights, prefix: str) -> dict[str, Tensor]:
    return {prefix + name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
