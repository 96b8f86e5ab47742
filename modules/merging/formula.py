"""What does one tensor of the result hold? The methods' arithmetic, in float32, and which block of the UNet a tensor is in.

The order of operations is part of the contract, since it decides the last bit: A * (1 - M) + B * M, and A + (B - C) * M.
"""

from __future__ import annotations

import re

from torch import Tensor

from modules.domain.block_weights import BASE
from modules.domain.merging import ADD_DIFFERENCE
from modules.families.base import Shapes
from modules.families.ldm_layout import UNET, how_many, under

NETWORKS = ("model.", "model_ema.", "first_stage_model.", "cond_stage_model.", "conditioner.")
"""What names of tensors that are learned begin with. All else, such as the noise schedule, is A's and is never rounded."""

FIRST_CONVOLUTION = f"{UNET}input_blocks.0.0.weight"
"""Its second side is the UNet's input channels: 4, with an inpainting mask 9, with the picture of an instruction 8."""

_BLOCK = re.compile(rf"{re.escape(UNET)}(?:(input|output)_blocks\.(\d+)|middle_block)\.")
_FIRST = (f"{UNET}time_embed.", f"{UNET}label_emb.")
_LAST = f"{UNET}out."

_TEXT_MODEL = re.compile(r"(cond_stage_model\.transformer|conditioner\.embedders\.\d+\.transformer)\.text_model\.")
"""Half of all programs leave CLIP's `text_model.` out of its tensors' names."""


def merged(method: str, multiplier: float, a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    """A, B and C (float32, of one shape) merged with this M. C is None where the method has none."""
    if method == ADD_DIFFERENCE and c is not None:
        return a + (b - c) * multiplier
    return a * (1 - multiplier) + b * multiplier


def is_learned(name: str) -> bool:
    """Whether a checkpoint's tensor is a network's weight, rather than a position's number or a noise level."""
    return name.startswith(NETWORKS) and not name.endswith("position_ids")


def plain_name(name: str) -> str:
    """The one of a tensor's names that all checkpoints with this tensor share."""
    return _TEXT_MODEL.sub(r"\1.", name)


def block_of(name: str, outputs: int) -> str:
    """The name in MBW's notation of the block that a tensor is in, of a UNet with so many on its way up; BASE for one that is in none.

    As in the recipes that people share, what reads the time (and SDXL's sizes) is IN00's, and the last layers are the last OUT's.
    """
    match = _BLOCK.match(name)
    if match is None:
        return "IN00" if name.startswith(_FIRST) else f"OUT{outputs - 1:02}" if name.startswith(_LAST) else BASE
    return f"{'IN' if match[1] == 'input' else 'OUT'}{int(match[2]):02}" if match[1] else "M00"


def count_blocks(shapes: Shapes) -> tuple[int, int]:
    """How many blocks the UNet has on its way down and up."""
    at = under(shapes, UNET)
    return how_many(at, r"input_blocks\.(\d+)\..+"), how_many(at, r"output_blocks\.(\d+)\..+")
