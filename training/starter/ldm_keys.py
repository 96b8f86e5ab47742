"""Names of weights: from the libraries' own classes to the layout in which SD1 checkpoints are passed around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

Weights = dict[str, torch.Tensor]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."

UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_modules(names: set[str], levels: int, layers: int) -> Iterator[tuple[str, str]]:
    """Yield (module in diffusers, module in LDM) for a UNet with `layers` resnets per level on the way down.

    LDM counts the steps of each way in one row: every resnet with its attention is a block, and so is a step down;
    a step up is the last part of the block before it.
    """
    yield from UNET_ENDS.items()
    block = 1
    for level in range(levels):
        for layer in range(layers):
            yield f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{block}.0"
            yield f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{block}.1"
            block += 1
        if level < levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{block}.0.op"
            block += 1
    block = 0
    for level in range(levels):
        for layer in range(layers + 1):
            yield f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{block}.0"
            attention = f"up_blocks.{level}.attentions.{layer}"
            yield attention, f"output_blocks.{block}.1"
            if layer == layers and level < levels - 1:
                place = 2 if f"{attention}.norm.weight" in names else 1
                yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{block}.{place}.conv"
            block += 1


def _vae_modules(levels: int, layers: int) -> Iterator[tuple[str, str]]:
    """Yield (module in diffusers, module in LDM) for an autoencoder; LDM numbers the way up from its end."""
    yield "quant_conv", "quant_conv"
    yield "post_quant_conv", "post_quant_conv"
    for side in ("encoder", "decoder"):
        yield f"{side}.conv_in", f"{side}.conv_in"
        yield f"{side}.conv_norm_out", f"{side}.norm_out"
        yield f"{side}.conv_out", f"{side}.conv_out"
        yield f"{side}.mid_block.resnets.0", f"{side}.mid.block_1"
        yield f"{side}.mid_block.attentions.0", f"{side}.mid.attn_1"
        yield f"{side}.mid_block.resnets.1", f"{side}.mid.block_2"
    for level in range(levels):
        down, up = f"encoder.down.{level}", f"decoder.up.{levels - 1 - level}"
        for layer in range(layers):
            yield f"encoder.down_blocks.{level}.resnets.{layer}", f"{down}.block.{layer}"
        for layer in range(layers + 1):
            yield f"decoder.up_blocks.{level}.resnets.{layer}", f"{up}.block.{layer}"
        yield f"encoder.down_blocks.{level}.downsamplers.0.conv", f"{down}.downsample.conv"
        yield f"decoder.up_blocks.{level}.upsamplers.0.conv", f"{up}.upsample.conv"


def _renamed(
    weights: Mapping[str, torch.Tensor],
    modules: Iterator[tuple[str, str]],
    inner: Mapping[str, Mapping[str, str]],
    prefix: str,
) -> Weights:
    """Return `weights` under new names; `inner` maps a word in a module's name to names inside such modules."""
    table = dict(modules)
    out: Weights = {}
    for key, value in weights.items():
        module = next((m for m in _heads(key) if m in table), None)
        if module is None:
            raise KeyError(f"no place for {key}")
        rest = key[len(module) + 1 :]
        for word, names in inner.items():
            if f".{word}." in f".{module}.":
                head = next((h for h in _heads(rest) if h in names), None)
                if head is not None:
                    rest = names[head] + rest[len(head) :]
        out[f"{prefix}{table[module]}.{rest}"] = value
    return out


def _heads(key: str) -> Iterator[str]:
    """Yield the name's beginnings, the longest first: "a.b.c" gives "a.b" and "a"."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def unet_to_ldm(weights: Mapping[str, torch.Tensor], levels: int, layers: int) -> Weights:
    """Rename a UNet2DConditionModel's weights; shapes stay, for SD1's projections are 1x1 convolutions in both."""
    return _renamed(weights, _unet_modules(set(weights), levels, layers), {"resnets": UNET_RESNET}, UNET_PREFIX)


def vae_to_ldm(weights: Mapping[str, torch.Tensor], levels: int, layers: int) -> Weights:
    """Rename an AutoencoderKL's weights; its attention's (c, c) matrices become (c, c, 1, 1) convolutions."""
    inner = {"resnets": VAE_RESNET, "attentions": VAE_ATTENTION}
    out = _renamed(weights, _vae_modules(levels, layers), inner, VAE_PREFIX)
    for key, value in out.items():
        if ".attn_1." in key and value.ndim == 2:
            out[key] = value[:, :, None, None]
    return out


def text_to_ldm(weights: Mapping[str, torch.Tensor]) -> Weights:
    """Rename a CLIPTextModel's weights."""
    return {TEXT_PREFIX + key.removeprefix("text_model."): value for key, value in weights.items()}
