"""Stable Diffusion 2: OpenCLIP ViT-H text encoder, UNet with eps or v prediction and linear attention projections, KL autoencoder.

Sizes come from the tensors' shapes. Most of its files don't say whether they predict eps or v: then the network itself is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from modules.domain.errors import ModelLoadError
from modules.families import diffusers_layout, ldm_layout, open_clip_layout, single_file
from modules.families.base import Blueprint, Config, Model, Part, Residency, Shapes, TextReading
from modules.families.latent_diffusion import LatentDiffusionFamily
from modules.families.networks import build_clip
from modules.families.parametrization import TIMESTEPS
from modules.families.traits import Traits

log = logging.getLogger(__name__)

OPEN_CLIP = "cond_stage_model.model."

# Nobody reads OpenCLIP's last layer here: files hold it and folders don't, so it is never built.
READING = TextReading(pad=open_clip_layout.PAD, least_skip=2, dropped=1)

_VARIANTS = (
    ("embedder.", "it is an unCLIP model, which draws variations of a picture; this version has no such models"),
    ("depth_model.", "it is a depth-to-image model; this version has no such models"),
)


class Sd2Family(LatentDiffusionFamily):
    """The `ModelFamily` of SD2."""

    traits = Traits(family="sd2", title="Stable Diffusion 2", head_channels=64, scaling_factor=0.18215)

    def claims(self, shapes: Shapes) -> bool:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.text_roles(shapes) == ("text_encoder",) and diffusers_layout.has_linear_attention(shapes)
        if any(name.startswith(OPEN_CLIP) for name in shapes):
            return ldm_layout.has_unet(shapes)
        foreign = any(name.startswith((ldm_layout.CLIP, "conditioner.")) for name in shapes)
        has_vector = ldm_layout.vector_width(shapes) is not None
        return ldm_layout.has_unet(shapes) and ldm_layout.has_linear_attention(shapes) and not foreign and not has_vector

    def blueprint(self, shapes: Shapes, config: Config) -> Blueprint:
        if diffusers_layout.is_folder(shapes):
            return diffusers_layout.blueprint(diffusers_layout.SD, self.traits, shapes, config, (READING,))
        for prefix, reason in _VARIANTS:
            if any(name.startswith(prefix) for name in shapes):
                raise ModelLoadError(reason)
        single_file.require_parts(shapes, OPEN_CLIP)
        clip = open_clip_layout.config(shapes, OPEN_CLIP, dropped=READING.dropped)
        names = open_clip_layout.names(shapes, OPEN_CLIP)
        part = Part(title="text encoder", build=partial(build_clip, clip), names=names)
        text = single_file.TextPart(part=part, reading=READING, width=clip["hidden_size"], layers=clip["num_hidden_layers"])
        return single_file.blueprint(self.traits, shapes, config, (text,))

    def assemble(self, blueprint: Blueprint, networks: Mapping[str, nn.Module], residency: Residency) -> Model:
        if blueprint.prediction_is_open and not blueprint.facts.is_inpainting:
            prediction = asked_prediction(cast("Any", networks["unet"]))
            log.info("Nothing beside this checkpoint says what it predicts: it behaves like a model of %s prediction", prediction)
            blueprint = replace(blueprint, facts=replace(blueprint.facts, prediction=prediction))
        return super().assemble(blueprint, networks, residency)


@torch.inference_mode()
def asked_prediction(unet: Any) -> str:
    """eps or v, by what the network makes of a grey input that it is told to be nothing but noise (A1111's test and threshold).

    One that predicts eps gives about its input back. One that predicts v gives minus the picture it imagines, far below the input.
    """
    weight = next(unet.parameters())
    x = torch.full((1, unet.config["in_channels"], 8, 8), 0.5, dtype=weight.dtype, device=weight.device)
    context = torch.full((1, 2, unet.config["cross_attention_dim"]), 0.5, dtype=weight.dtype, device=weight.device)
    timestep = torch.tensor([TIMESTEPS - 1], device=weight.device)
    output = unet(x, timestep, encoder_hidden_states=context, return_dict=False)[0]
    return "v" if float((output - x).float().mean()) < -1.0 else "eps"
