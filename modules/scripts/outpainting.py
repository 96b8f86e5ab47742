"""Poor man's outpainting: what lies beyond the picture's edges? Its controls, set on the outpainting that img2img has anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.domain.checks import check
from modules.domain.errors import InvalidRequest
from modules.domain.img2img import MASKED_CONTENTS, Inpaint, Outpaint
from modules.domain.requests import GenerationRequest
from modules.scripts.script import Control, Environment, Outcome, Script, Steps

NAME = "Poor man's outpainting"
_SIDES = {"left": "left", "right": "right", "up": "top", "down": "bottom"}


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """One job, of the whole grown picture. Raises `InvalidRequest`."""
    start = request.init
    if start is None:
        raise InvalidRequest(f"{NAME} is for img2img: choose a picture to begin from.")
    check(request.inpaint is None, f"{NAME} masks what is new by itself: use the sub-tab img2img, or send no mask.")
    check(bool(values["direction"]), f"{NAME}: choose at least one direction.")
    sides = {_SIDES[side]: int(values["pixels"]) for side in values["direction"]}
    blur = int(values["mask_blur"])
    inpaint = Inpaint(
        mask_blur_x=blur,
        mask_blur_y=blur,
        content=str(values["inpainting_fill"]).replace(" ", "_"),
        outpaint=Outpaint(**sides),
    )
    yield (replace(request, init=replace(start, resize_by=None), inpaint=inpaint),)
    return Outcome()


SCRIPT = Script(
    name=NAME,
    run=run,
    txt2img=False,
    info="The picture grows on the chosen sides by as many pixels, and what is new is drawn in one piece with the rest in view.",
    controls=(
        Control(kind="slider", name="pixels", label="Pixels to expand", default=128, low=8, high=256, step=8),
        Control(kind="slider", name="mask_blur", label="Mask blur", default=4, low=0, high=64, step=1),
        Control(
            kind="radio",
            name="inpainting_fill",
            label="Masked content",
            default="fill",
            choices=tuple(content.replace("_", " ") for content in MASKED_CONTENTS),
            index=True,
        ),
        Control(
            kind="checkboxes",
            name="direction",
            label="Outpainting direction",
            default=("left", "right", "up", "down"),
            choices=tuple(_SIDES),
            multiple=True,
        ),
    ),
)
