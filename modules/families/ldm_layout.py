"""What networks does a single file in the original LDM key layout hold? Their configs from the tensors' shapes, their tensors' names.

Shared by the families that are published in this layout. Raises `ModelLoadError` with the reason when the shapes make no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from modules.domain.errors import ModelLoadError
from modules.families.base import Part, Shapes
from modules.families.networks import build_unet, build_vae

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."

GROUPS = 32
"""Channels of every convolution are normalised in this many groups in all models of this layout."""


class TensorName(str):
    """A checkpoint's tensor name that diffusers' converters can carry where they expect the tensor itself; they look at its shape only."""

    shape: tuple[int, ...] = ()
    ndim = 0


@dataclass(frozen=True, slots=True)
class _UnetLevel:
    channels: int
    layers: int
    attention: int
    """Transformer blocks in each attention layer; 0 where the level has none."""


def has_unet(shapes: Shapes) -> bool:
    """Whether a UNet of this layout is among the tensors."""
    return f"{UNET}input_blocks.0.0.weight" in shapes


def vector_width(shapes: Shapes) -> int | None:
    """How many numbers the UNet reads beside text and timestep; None where it reads none."""
    label = shapes.get(f"{UNET}label_emb.0.0.weight", ())
    return label[1] if len(label) == 2 else None


def has_linear_attention(shapes: Shapes) -> bool:
    """Whether the UNet's attention layers begin with a linear layer, as from SD2 on, rather than with a convolution."""
    return len(shapes.get(f"{UNET}middle_block.1.proj_in.weight", ())) == 2


def unet_config(shapes: Shapes, *, heads: int | None, head_channels: int | None) -> dict[str, Any]:
    """The arguments of `UNet2DConditionModel`. Either `heads` (a level) or `head_channels` says how attention is divided."""
    at = under(shapes, UNET)
    first = shape_of(at, "input_blocks.0.0.weight", "UNet")
    levels = _unet_levels(at)
    _check_way_up(at, levels)
    channels = [level.channels for level in levels]
    require(all(count % GROUPS == 0 for count in channels), f"its UNet's channels {channels} are not multiples of {GROUPS}")
    require(len({level.layers for level in levels}) == 1, "its UNet's levels have different numbers of blocks")
    depth = how_many(at, r"middle_block\.1\.transformer_blocks\.(\d+)\.attn1\.to_q\.weight")
    require(depth > 0 and any(level.attention for level in levels), "its UNet has no attention to the prompt")
    require(levels[-1].attention in (0, depth), "its UNet's middle has another number of transformers than its last level")
    context = _find(at, r".*\.transformer_blocks\.0\.attn2\.to_k\.weight", "cross attention")[1]
    per_level = [count // head_channels for count in channels] if head_channels else [heads or 8] * len(channels)
    require(
        all(h and c % h == 0 for c, h in zip(channels, per_level, strict=True)), f"its UNet's channels {channels} don't divide by its heads"
    )
    down = tuple("CrossAttnDownBlock2D" if level.attention else "DownBlock2D" for level in levels)
    return {
        "in_channels": first[1],
        "out_channels": shape_of(at, "out.2.weight", "UNet")[0],
        "down_block_types": down,
        "up_block_types": tuple(name.replace("Down", "Up") for name in reversed(down)),
        "block_out_channels": tuple(channels),
        "layers_per_block": levels[0].layers,
        # the last level's number is the middle's too, whether or not that level has attention of its own
        "transformer_layers_per_block": (*(level.attention or 1 for level in levels[:-1]), depth),
        "cross_attention_dim": context,
        # diffusers reads this as the number of heads for models of this age
        "attention_head_dim": per_level[0] if len(set(per_level)) == 1 else tuple(per_level),
        "use_linear_projection": len(shape_of(at, "middle_block.1.proj_in.weight", "UNet")) == 2,
    }


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of `AutoencoderKL`, from tensors named as in a full checkpoint (`first_stage_model.…`)."""
    at = under(shapes, VAE)
    levels = how_many(at, r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight")
    layers = how_many(at, r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight")
    require(levels > 0 and layers > 0 and "decoder.conv_in.weight" in at, "it holds no autoencoder (VAE)")
    require("post_quant_conv.weight" in at and "quant_conv.weight" in at, "its autoencoder (VAE) is not of the KL kind")
    require("encoder.mid.attn_1.q.weight" in at, "its autoencoder (VAE) has no attention in its middle")
    require(
        not any(re.match(r"(en|de)coder\.(down|up)\.\d+\.attn\.", name) for name in at),
        "its autoencoder (VAE) has attention outside its middle",
    )
    return {
        "in_channels": shape_of(at, "encoder.conv_in.weight", "autoencoder")[1],
        "out_channels": shape_of(at, "decoder.conv_out.weight", "autoencoder")[0],
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(
            shape_of(at, f"encoder.down.{level}.block.0.conv1.weight", "autoencoder")[0] for level in range(levels)
        ),
        "layers_per_block": layers,
        "latent_channels": shape_of(at, "post_quant_conv.weight", "autoencoder")[1],
        "norm_num_groups": GROUPS,
    }


def clip_config(shapes: Shapes, *, heads: int | None = None, prefix: str = CLIP) -> dict[str, Any]:
    """The arguments of `CLIPTextConfig`; without `heads`, attention has 64 channels a head as OpenAI's models do."""
    at = {name.removeprefix("text_model."): shape for name, shape in under(shapes, prefix).items()}
    vocabulary, width = shape_of(at, "embeddings.token_embedding.weight", "CLIP text encoder")
    heads = heads or max(1, width // 64)
    require(width % heads == 0, f"its text encoder's width {width} does not divide by {heads} heads")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shape_of(at, "encoder.layers.0.mlp.fc1.weight", "CLIP text encoder")[0],
        "projection_dim": width,
        "num_hidden_layers": how_many(at, r"encoder\.layers\.(\d+)\.layer_norm1\.weight"),
        "num_attention_heads": heads,
        "max_position_embeddings": shape_of(at, "embeddings.position_embedding.weight", "CLIP text encoder")[0],
        "hidden_act": "quick_gelu",
    }


def unet_part(shapes: Shapes, config: Mapping[str, Any]) -> Part:
    """The UNet that `config` describes."""
    names = _converted("convert_ldm_unet_checkpoint", under(shapes, UNET), UNET, config)
    return Part(title="UNet", build=partial(build_unet, config), names=names)


def vae_part(shapes: Shapes, latent_channels: int) -> Part:
    """The autoencoder of a checkpoint, or of a VAE file of its own, whose names have no prefix."""
    at = {name if name.startswith(VAE) else VAE + name: shape for name, shape in shapes.items()}
    config = vae_config(at)
    if config["latent_channels"] != latent_channels:
        raise ModelLoadError(f"its latents have {config['latent_channels']} channels, the checkpoint's have {latent_channels}")
    names = {
        ours: theirs if theirs in shapes else theirs.removeprefix(VAE)
        for ours, theirs in _converted("convert_ldm_vae_checkpoint", under(at, VAE), VAE, config).items()
    }
    return Part(title="VAE", build=partial(build_vae, config), names=names)


def clip_names(shapes: Shapes, prefix: str = CLIP) -> dict[str, str]:
    """transformers' name (without `text_model.`) of each of the text encoder's tensors -> its name in the checkpoint."""
    return {name.removeprefix(prefix).removeprefix("text_model."): name for name in shapes if name.startswith(prefix)}


def _converted(converter: str, names: Shapes, prefix: str, config: Mapping[str, Any]) -> dict[str, str]:
    from diffusers.loaders import single_file_utils

    convert: Callable[[dict[str, TensorName], Mapping[str, Any]], dict[str, Any]] = getattr(single_file_utils, converter)
    converted = convert({prefix + name: TensorName(prefix + name) for name in names}, config)
    return {ours: str(theirs) for ours, theirs in converted.items() if theirs is not None}


def _unet_levels(at: Shapes) -> list[_UnetLevel]:
    levels: list[_UnetLevel] = []
    blocks = how_many(at, r"input_blocks\.(\d+)\.0\..*weight")
    channels = layers = attention = 0
    for block in range(1, blocks):
        name = f"input_blocks.{block}"
        if f"{name}.0.op.weight" in at:
            levels.append(_UnetLevel(channels, layers, attention))
            channels = layers = attention = 0
            continue
        channels = shape_of(at, f"{name}.0.out_layers.3.weight", "UNet")[0]
        depth = how_many(at, rf"input_blocks\.{block}\.1\.transformer_blocks\.(\d+)\.attn1\.to_q\.weight")
        require(not layers or depth == attention, "its UNet has attention in some blocks of a level only")
        layers, attention = layers + 1, depth
    levels.append(_UnetLevel(channels, layers, attention))
    require(all(level.layers for level in levels), "its UNet's blocks are not in the usual order")
    return levels


def _check_way_up(at: Shapes, levels: list[_UnetLevel]) -> None:
    """The way up has to mirror the way down, or there would be tensors that nobody reads."""
    wanted = [level.attention for level in reversed(levels) for _ in range(level.layers + 1)]
    blocks = how_many(at, r"output_blocks\.(\d+)\.0\.in_layers\.2\.weight")
    found = [how_many(at, rf"output_blocks\.{block}\.1\.transformer_blocks\.(\d+)\.attn1\.to_q\.weight") for block in range(blocks)]
    require(found == wanted, "its UNet's way up is not the mirror of its way down, as in distilled models of this kind")


def under(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def how_many(at: Shapes, pattern: str) -> int:
    """How many numbers the group takes in the names that match, counted from 0 without a gap."""
    found = {int(match[1]) for name in at if (match := re.fullmatch(pattern, name))}
    count = 0
    while count in found:
        count += 1
    return count


def _find(at: Shapes, pattern: str, what: str) -> tuple[int, ...]:
    for name in at:
        if re.fullmatch(pattern, name):
            return shape_of(at, name, what)
    raise ModelLoadError(f"it holds no {what}")


def shape_of(at: Shapes, name: str, what: str) -> tuple[int, ...]:
    """The shape of a weight matrix or convolution, of two dimensions or more."""
    if name not in at:
        raise ModelLoadError(f"it holds no complete {what} (there is no {name!r})")
    shape = at[name]
    if len(shape) < 2 or not all(shape):
        raise ModelLoadError(f"its {what} has a weight of shape {list(shape)} ({name!r})")
    return shape


def require(condition: bool, reason: str) -> None:
    """Raise `ModelLoadError` with `reason` unless `condition` holds."""
    if not condition:
        raise ModelLoadError(reason)
