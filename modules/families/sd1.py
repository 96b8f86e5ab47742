"""Stable Diffusion 1: CLIP ViT-L text encoder, UNet with eps or v prediction, KL autoencoder; also models of that structure in any size.

Sizes come from the tensors' shapes. The `.yaml` beside a file may set the few numbers that shapes don't tell; all else in it is ignored.
"""

from __future__ import annotations

from functools import partial

from modules.families import diffusers_layout, ldm_config, ldm_layout, single_file
from modules.families.base import SD1_READING, Blueprint, Config, Part, Shapes
from modules.families.latent_diffusion import LatentDiffusionFamily
from modules.families.networks import build_clip
from modules.families.traits import Traits

_FOREIGN = (f"{ldm_layout.UNET}label_emb.", "conditioner.", "cond_stage_model.model.")


class Sd1Family(LatentDiffusionFamily):
    """The `ModelFamily` of SD1."""

    traits = Traits(family="sd1", title="Stable Diffusion 1", heads=8, scaling_factor=0.18215)

    def claims(self, shapes: Shapes) -> bool:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.text_roles(shapes) == ("text_encoder",) and not diffusers_layout.has_linear_attention(shapes)
        has_clip = any(name.startswith(ldm_layout.CLIP) for name in shapes)
        foreign = any(name.startswith(_FOREIGN) for name in shapes)
        return ldm_layout.has_unet(shapes) and not foreign and (has_clip or not ldm_layout.has_linear_attention(shapes))

    def blueprint(self, shapes: Shapes, config: Config) -> Blueprint:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.blueprint(diffusers_layout.SD, self.traits, shapes, config, (SD1_READING,))
        single_file.require_parts(shapes, ldm_layout.CLIP)
        heads = ldm_config.number(config, "model.params.cond_stage_config.params.heads", low=1, high=512)
        clip = ldm_layout.clip_config(shapes, heads=int(heads) if heads else None)
        part = Part(title="text encoder", build=partial(build_clip, clip), names=ldm_layout.clip_names(shapes))
        text = single_file.TextPart(part=part, reading=SD1_READING, width=clip["hidden_size"], layers=clip["num_hidden_layers"])
        return single_file.blueprint(self.traits, shapes, config, (text,))
