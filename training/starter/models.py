"""Builds the three networks of the starter model in the libraries' own classes."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from training.starter.config import UnetConfig, VaeConfig

VOCABULARY = 49408
POSITIONS = 77
BOS, EOS = 49406, 49407


def build_vae(vae: VaeConfig, size: int) -> AutoencoderKL:
    """Return a KL autoencoder: (b, 3, size, size) in -1..1 <-> (b, latent_channels, size / factor, size / factor)."""
    levels = len(vae.channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=vae.channels,
        layers_per_block=vae.layers,
        latent_channels=vae.latent_channels,
        norm_num_groups=32,
        sample_size=size,
        act_fn="silu",
    )


def build_unet(unet: UnetConfig, latent_channels: int, latent_size: int) -> UNet2DConditionModel:
    """Return a denoiser of (b, latent_channels, n, n) latents that attends to (b, 77, text_width) words."""
    down = tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in unet.attention)
    up = tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(unet.attention))
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=unet.channels,
        layers_per_block=unet.layers,
        cross_attention_dim=unet.text_width,
        attention_head_dim=unet.heads,  # diffusers reads this as the number of heads in SD1's shape
        norm_num_groups=32,
    )


def build_text(unet: UnetConfig, vocabulary: int = VOCABULARY) -> CLIPTextModel:
    """Return a CLIP text encoder: (b, 77) token ids -> (b, 77, text_width)."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=unet.text_width,
        intermediate_size=4 * unet.text_width,
        projection_dim=unet.text_width,
        num_hidden_layers=unet.text_layers,
        num_attention_heads=unet.text_heads,
        max_position_embeddings=POSITIONS,
        hidden_act="quick_gelu",
        bos_token_id=BOS if vocabulary == VOCABULARY else 0,
        eos_token_id=EOS if vocabulary == VOCABULARY else 0,  # only the pooled output, unused here, looks for it
        pad_token_id=EOS if vocabulary == VOCABULARY else 0,
    )
    return CLIPTextModel(config)


def parameters(module: torch.nn.Module) -> int:
    """Count a module's numbers."""
    return sum(p.numel() for p in module.parameters())
