"""Which family does a checkpoint belong to? One row a family; what none of them knows is named for the user."""

from __future__ import annotations

from modules.domain.errors import ModelLoadError
from modules.families.base import ModelFamily, Shapes
from modules.families.sd1 import Sd1Family
from modules.families.sd2 import Sd2Family
from modules.families.sdxl import SdxlFamily, SdxlRefinerFamily

FAMILIES: tuple[ModelFamily, ...] = (Sd1Family(), Sd2Family(), SdxlFamily(), SdxlRefinerFamily())
"""No two of them claim the same checkpoint."""

_FOREIGN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("model.diffusion_model.double_blocks.", "double_blocks."), "a Flux model"),
    (("model.diffusion_model.joint_blocks.", "joint_blocks."), "a Stable Diffusion 3 model"),
    (("control_model.", "controlnet_cond_embedding.", "input_hint_block."), "a ControlNet, which belongs into models/ControlNet"),
    (("lora_unet_", "lora_te", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora", "base_model.model."),
     "a LoRA, which belongs into models/Lora"),
    (("first_stage_model.", "encoder.down.", "decoder.up."), "a VAE without the rest of a model, which belongs into models/VAE"),
    (("string_to_param", "emb_params", "clip_l", "clip_g"), "a textual inversion, which belongs into embeddings"),
    (("down_blocks.", "unet/"), "a UNet in diffusers' layout without the rest of a model"),
    (("input_blocks.", "diffusion_model.input_blocks."), "a UNet without the rest of a model"),
    (("cond_stage_model.", "conditioner.embedders.", "text_model.", "text_encoder/", "text_encoder_2/", "transformer.resblocks."),
     "a text encoder without the rest of a model"),
    (("model.0.", "body.0.", "conv_first."), "an upscaler, which belongs into models/ESRGAN"),
)  # fmt: skip


def detect(shapes: Shapes) -> ModelFamily:
    """The family of a checkpoint with these tensors. Raises `ModelLoadError` saying what it seems to be instead."""
    for family in FAMILIES:
        if family.claims(shapes):
            return family
    known = ", ".join(family.title for family in FAMILIES)
    what = foreign_kind(shapes)
    if what is None:
        raise ModelLoadError(f"it is not a model that this version knows ({len(shapes)} tensors; known: {known})")
    raise ModelLoadError(f"it is {what}; this version loads {known} checkpoints")


def foreign_kind(shapes: Shapes) -> str | None:
    """What a file of another kind seems to be, by its tensors' names; None for a complete stranger."""
    for prefixes, kind in _FOREIGN:
        if any(name.startswith(prefixes) for name in shapes):
            return kind
    return None
