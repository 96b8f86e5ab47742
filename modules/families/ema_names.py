"""Which weight is an average of? LDM's training keeps running averages of the UNet under names with the dots left out.

A checkpoint usually has them beside the weights and they are left alone; in one that has nothing else, they are the weights.
"""

from __future__ import annotations

import re

from modules.families.base import Shapes
from modules.families.ldm_layout import UNET, has_unet

PREFIX = "model_ema.diffusion_model"

_WORDS = (
    "transformer_blocks", "skip_connection", "output_blocks", "input_blocks", "middle_block", "time_embed", "label_emb", "emb_layers",
    "out_layers", "in_layers", "proj_out", "proj_in", "to_out", "weight", "attn1", "attn2", "norm1", "norm2", "norm3", "to_q", "to_k",
    "to_v", "norm", "bias", "conv", "proj", "net", "out", "op", "ff",
)  # fmt: skip
# Blocks have two numbers after them, of which only the first can have two digits; all others are below ten.
_PIECES = re.compile(rf"(?:(?<=input_blocks)|(?<=output_blocks))\d+(?=\d)|{'|'.join(_WORDS)}|\d")


def averages_as_weights(shapes: Shapes) -> dict[str, str]:
    """For a checkpoint that has averages and no weights of its UNet: each weight's name -> the name of its average. Else nothing."""
    if has_unet(shapes):
        return {}
    dotted = {name: _with_dots(name.removeprefix(PREFIX)) for name in shapes if name.startswith(PREFIX)}
    return {UNET + weight: name for name, weight in dotted.items() if weight is not None}


def _with_dots(name: str) -> str | None:
    """`input_blocks110in_layers0weight` -> `input_blocks.11.0.in_layers.0.weight`; None for what is no UNet's."""
    pieces = _PIECES.findall(name)
    return ".".join(pieces) if "".join(pieces) == name else None
