"""Between img2img's controls and the parts of a request that only it has: the picture, the mask, and how they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from modules.domain.errors import InvalidRequest
from modules.domain.img2img import RESIZE_LABELS, Img2Img, Inpaint, Outpaint, SoftInpainting
from modules.domain.requests import GenerationRequest
from modules.gradio_ui.form import number, whole_number
from modules.gradio_ui.parts.img2img_settings import SOFT
from modules.gradio_ui.pasting.img2img import INPAINT_AREAS, MASK_MODES, RESIZE_BY, SIDES


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the page's script uploaded for one click: ids, whether the picture has transparent parts, and the sub-tab that they are of."""

    image: str
    mask: str | None = None
    has_alpha: bool = False
    mode: str = "img2img"


def uploaded(text: str) -> Inputs:
    """The inputs as the page's script hands them over. Raises `InvalidRequest` with its sentence when something went wrong there."""
    given = json.loads(text) if text else {}
    if given.get("error"):
        raise InvalidRequest(str(given["error"])[:400])
    mask = given.get("mask")
    return Inputs(
        str(given.get("image") or ""), None if mask is None else str(mask), bool(given.get("hasAlpha")), str(given.get("mode") or "img2img")
    )


def with_picture(plain: GenerationRequest, values: Mapping[str, Any], inputs: Inputs, *, masked: bool) -> GenerationRequest:
    """The request that begins from a picture; `masked`: only a part of it is drawn anew. Raises `InvalidRequest`."""
    by = values["resize_kind"] == RESIZE_BY
    init = Img2Img(
        image=inputs.image,
        denoising_strength=number(values, "denoising_strength", "Denoising strength"),
        resize_mode=next(mode for mode, label in RESIZE_LABELS.items() if label == values["resize_mode"]),
        resize_by=number(values, "scale", "Resize by: scale") if by else None,
    )
    return replace(plain, init=init, inpaint=to_inpaint(values, inputs) if masked else None)


def to_inpaint(values: Mapping[str, Any], inputs: Inputs) -> Inpaint:
    """What is drawn anew, and how. Raises `InvalidRequest` where nothing is."""
    outpaint = to_outpaint(values) if values["outpaint_enabled"] else None
    inverted = values["inpainting_mask_invert"] == MASK_MODES[1]
    if inputs.mask is None and not inputs.has_alpha and outpaint is None:
        raise InvalidRequest(f"Nothing is masked: paint over what {'is to stay' if inverted else 'should change'}.")
    blur = whole_number(values, "mask_blur", "Mask blur")
    return Inpaint(
        mask=inputs.mask,
        mask_blur_x=blur,
        mask_blur_y=blur,
        invert=inverted,
        content=str(values["inpainting_fill"]).replace(" ", "_"),
        only_masked=values["inpaint_full_res"] == INPAINT_AREAS[1],
        padding=whole_number(values, "inpaint_full_res_padding", "Only masked padding"),
        mask_alpha=inputs.has_alpha,
        soft=to_soft(values) if values["soft_inpainting_enabled"] else None,
        outpaint=outpaint,
    )


def to_soft(values: Mapping[str, Any]) -> SoftInpainting:
    """Soft inpainting's numbers."""
    return SoftInpainting(**{name.removeprefix("soft_inpainting_"): number(values, name, row[0]) for name, row in SOFT.items()})


def to_outpaint(values: Mapping[str, Any]) -> Outpaint:
    """By how much each side grows."""
    return Outpaint(**{name.removeprefix("outpaint_"): whole_number(values, name, label) for name, label in SIDES.items()})
