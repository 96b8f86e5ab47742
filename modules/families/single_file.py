"""How does a single file of the LDM kind become a blueprint? What all families published in that layout have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modules.domain.errors import ModelLoadError
from modules.families import ldm_config, ldm_layout
from modules.families.base import Blueprint, Config, ModelFacts, Part, Shapes, TextReading
from modules.families.traits import IDS, Traits, check_channels

TIME_WIDTH = 256
"""SDXL's UNets read each number that they are told as a sinusoidal embedding of this width."""

SCALED_FLOAT8 = ("scaled_fp8", ".scale_weight", ".weight_scale")
_UNET_PARAMS = "model.params.unet_config.params"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """A text encoder of a file: the network, how it is read, and the widths of what comes out."""

    part: Part
    reading: TextReading
    width: int
    layers: int
    pooled_width: int = 0


FACTOR = 8
"""Pixels per latent along a side, where the file has no autoencoder to count it from: all of these families' are alike."""


def require_parts(shapes: Shapes, *text_prefixes: str) -> None:
    """Raise `ModelLoadError` with the reason unless the file has these text encoders, in a storage that is known."""
    for prefix in text_prefixes:
        if not any(name.startswith(prefix) for name in shapes):
            which = "text encoder" if len(text_prefixes) == 1 else f"text encoder {prefix.rstrip('.')!r}"
            raise ModelLoadError(f"it holds no {which} (only parts of a checkpoint)")
    if any(name.endswith(SCALED_FLOAT8) for name in shapes):
        raise ModelLoadError(
            "its weights are stored as scaled float8, which this version does not read; use a file in fp16, bf16 or plain fp8"
        )


def blueprint(traits: Traits, shapes: Shapes, config: Config, texts: Sequence[TextPart]) -> Blueprint:
    """The parts and numbers of a single file with these text encoders. Raises `ModelLoadError` with the reason."""
    unet = ldm_layout.unet_config(shapes, **_heads(traits, config))
    if traits.told:
        unet |= _addition(traits, shapes, sum(text.pooled_width for text in texts))
    check_channels(unet["in_channels"], unet["out_channels"])
    width = sum(text.width for text in texts)
    if unet["cross_attention_dim"] != width:
        raise ModelLoadError(f"its text encoder's width {width} is not the UNet's {unet['cross_attention_dim']}")
    said = ldm_config.prediction(shapes, config)
    has_vae = f"{ldm_layout.VAE}decoder.conv_in.weight" in shapes
    return Blueprint(
        facts=ModelFacts(
            family=traits.family,
            prediction=said or "eps",
            in_channels=unet["in_channels"],
            latent_channels=unet["out_channels"],
            factor=2 ** (len(ldm_layout.vae_config(shapes)["block_out_channels"]) - 1) if has_vae else FACTOR,
            text_layers=min(text.layers + text.reading.dropped for text in texts),
            is_sdxl=traits.is_sdxl,
        ),
        parts={
            "unet": ldm_layout.unet_part(shapes, unet),
            **{text.reading.role: text.part for text in texts},
            **({"vae": ldm_layout.vae_part(shapes, unet["out_channels"])} if has_vae else {}),
        },
        sigmas=ldm_config.sigmas(shapes, config),
        scaling_factor=ldm_config.number(config, "model.params.scale_factor", low=1e-4, high=100.0) or traits.scaling_factor,
        texts=tuple(text.reading for text in texts),
        told=traits.told,
        prediction_is_open=said is None,
    )


def _heads(traits: Traits, config: Config) -> dict[str, int | None]:
    """How attention is divided: as the .yaml says, else as all files of the family do it."""
    heads = ldm_config.number(config, f"{_UNET_PARAMS}.num_heads", low=1, high=512)
    head_channels = ldm_config.number(config, f"{_UNET_PARAMS}.num_head_channels", low=1, high=4096)
    if heads is None and head_channels is None:
        return {"heads": traits.heads, "head_channels": traits.head_channels}
    return {"heads": int(heads) if heads else None, "head_channels": int(head_channels) if head_channels else None}


def _addition(traits: Traits, shapes: Shapes, pooled_width: int) -> dict[str, object]:
    """The arguments of `UNet2DConditionModel` for a UNet that is told numbers beside a pooled text."""
    wanted = pooled_width + TIME_WIDTH * sum(IDS[name] for name in traits.told)
    found = ldm_layout.vector_width(shapes)
    if found != wanted:
        raise ModelLoadError(f"its UNet reads {found or 'no'} numbers beside the text, where this kind of model has {wanted}")
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_WIDTH,
        "projection_class_embeddings_input_dim": wanted,
    }
