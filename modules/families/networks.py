"""How are the bare networks made? The libraries' own classes from plain config values, without weights and without asking a hub."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn


def import_libraries() -> None:
    """Import what the networks are made of: seconds, once a process, better spent before the first job.

    And before the first model: xformers keeps the error of kernels that don't load, with it the calls that led to its import, and with
    those whatever they hold.
    """
    for module in (
        "diffusers.models.unets.unet_2d_condition",
        "diffusers.models.autoencoders.autoencoder_kl",
        "diffusers.loaders.single_file_utils",
        "transformers.models.clip.modeling_clip",
        "accelerate",
    ):
        importlib.import_module(module)


def build_unet(config: Mapping[str, Any]) -> nn.Module:
    """diffusers' UNet with these arguments."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel(**config)


def build_vae(config: Mapping[str, Any]) -> nn.Module:
    """diffusers' KL autoencoder with these arguments."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(**config)


def build_clip(config: Mapping[str, Any]) -> nn.Module:
    """transformers' CLIP text model with these arguments."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**config))


def build_projected_clip(config: Mapping[str, Any]) -> nn.Module:
    """transformers' CLIP text model with these arguments, and the projection of the pooled text after it."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig(**config))
