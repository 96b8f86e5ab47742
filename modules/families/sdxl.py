"""Stable Diffusion XL, base and refiner: OpenCLIP bigG (the base has CLIP ViT-L beside it), a UNet that is told sizes, KL autoencoder.

Podell et al. 2023, arXiv:2307.01952. eps or v prediction; sizes come from the tensors' shapes.
"""

from __future__ import annotations

from functools import partial

from modules.families import diffusers_layout, ldm_layout, open_clip_layout, single_file
from modules.families.base import Blueprint, Config, Part, Piece, Shapes, TextReading
from modules.families.latent_diffusion import LatentDiffusionFamily
from modules.families.networks import build_clip, build_projected_clip
from modules.families.traits import Traits

SCALING_FACTOR = 0.13025
HEAD_CHANNELS = 64

BASE_CLIP = "conditioner.embedders.0.transformer."
BASE_OPEN_CLIP = "conditioner.embedders.1.model."
REFINER_OPEN_CLIP = "conditioner.embedders.0.model."

BASE_VECTOR, REFINER_VECTOR = 2816, 2560
"""How many numbers the published UNets read beside the text: how a UNet without text encoders is told apart."""

# A1111 reads the layer before the last at any clip skip. Here, as in Forge, more than 2 counts: what is chosen is not ignored.
CLIP_READING = TextReading(role="text_encoder", least_skip=2, final_norm=False)
OPEN_CLIP_READING = TextReading(role="text_encoder_2", pad=open_clip_layout.PAD, least_skip=2, final_norm=False, pooled=True)


class SdxlFamily(LatentDiffusionFamily):
    """The `ModelFamily` of SDXL's base model."""

    traits = Traits(
        family="sdxl",
        title="Stable Diffusion XL",
        head_channels=HEAD_CHANNELS,
        scaling_factor=SCALING_FACTOR,
        told=("original_size", "crop", "target_size"),
        is_sdxl=True,
    )

    def claims(self, shapes: Shapes) -> bool:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.text_roles(shapes) == ("text_encoder", "text_encoder_2")
        has_text = any(name.startswith((BASE_CLIP, BASE_OPEN_CLIP)) for name in shapes)
        return ldm_layout.has_unet(shapes) and (has_text or ldm_layout.vector_width(shapes) == BASE_VECTOR)

    def blueprint(self, shapes: Shapes, config: Config) -> Blueprint:
        if diffusers_layout.is_folder(shapes):
            readings = (CLIP_READING, OPEN_CLIP_READING)
            return diffusers_layout.blueprint(diffusers_layout.SDXL, self.traits, shapes, config, readings)
        single_file.require_parts(shapes, BASE_CLIP, BASE_OPEN_CLIP)
        clip = ldm_layout.clip_config(shapes, prefix=BASE_CLIP)
        part = Part(title="CLIP text encoder", build=partial(build_clip, clip), names=ldm_layout.clip_names(shapes, BASE_CLIP))
        text = single_file.TextPart(part=part, reading=CLIP_READING, width=clip["hidden_size"], layers=clip["num_hidden_layers"])
        return single_file.blueprint(self.traits, shapes, config, (text, _open_clip(shapes, BASE_OPEN_CLIP)))


class SdxlRefinerFamily(LatentDiffusionFamily):
    """The `ModelFamily` of SDXL's refiner: it knows bigG's text alone, and is told how beautiful the picture is."""

    traits = Traits(
        family="sdxl_refiner",
        title="Stable Diffusion XL refiner",
        head_channels=HEAD_CHANNELS,
        scaling_factor=SCALING_FACTOR,
        told=("original_size", "crop", "aesthetic_score"),
        is_sdxl=True,
    )

    def claims(self, shapes: Shapes) -> bool:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.text_roles(shapes) == ("text_encoder_2",)
        has_text = any(name.startswith(REFINER_OPEN_CLIP) for name in shapes)
        return ldm_layout.has_unet(shapes) and (has_text or ldm_layout.vector_width(shapes) == REFINER_VECTOR)

    def blueprint(self, shapes: Shapes, config: Config) -> Blueprint:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.blueprint(diffusers_layout.SDXL, self.traits, shapes, config, (OPEN_CLIP_READING,))
        single_file.require_parts(shapes, REFINER_OPEN_CLIP)
        return single_file.blueprint(self.traits, shapes, config, (_open_clip(shapes, REFINER_OPEN_CLIP),))


def _open_clip(shapes: Shapes, prefix: str) -> single_file.TextPart:
    config = open_clip_layout.config(shapes, prefix)
    inner = open_clip_layout.names(shapes, prefix)
    names: dict[str, str | Piece] = {f"text_model.{ours}": theirs for ours, theirs in inner.items()}
    names["text_projection.weight"] = open_clip_layout.projection(shapes, prefix)
    return single_file.TextPart(
        part=Part(title="OpenCLIP text encoder", build=partial(build_projected_clip, config), names=names),
        reading=OPEN_CLIP_READING,
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        pooled_width=config["projection_dim"],
    )
