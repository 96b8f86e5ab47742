"""Which fields of an infotext are controls of img2img, and what do they show then? One table, by A1111's names of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modules.domain.img2img import MASKED_CONTENTS, RESIZE_LABELS

MASK_MODES = ("Inpaint masked", "Inpaint not masked")
INPAINT_AREAS = ("Whole picture", "Only masked")
CONTENT_LABELS = tuple(name.replace("_", " ") for name in MASKED_CONTENTS)
"""What the page and the infotext call `MASKED_CONTENTS`, in that order."""

RESIZE_TO, RESIZE_BY = "Resize to", "Resize by"
SIDES = {"outpaint_left": "Left", "outpaint_right": "Right", "outpaint_top": "Up", "outpaint_bottom": "Down"}
"""The page's labels of the sides that outpainting may add to."""


@dataclass(frozen=True, slots=True)
class PasteField:
    """A control of the img2img form. `name` is its elem_id without the tab, `key` the infotext's field, `read` raises ValueError."""

    name: str
    key: str
    read: Callable[[str], Any]
    absent: Any = None
    """What it shows where the field is missing; None leaves it as it is."""


def _whole(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 10_000:
        raise ValueError(text)
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _flag(text: str) -> bool:
    if text.strip().casefold() not in ("true", "false"):
        raise ValueError(text)
    return text.strip().casefold() == "true"


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        found = [choice for choice in choices if choice.casefold() == text.strip().casefold()]
        if not found:
            raise ValueError(text)
        return found[0]

    return read


FIELDS = (
    PasteField("denoising_strength", "Denoising strength", _number),
    PasteField("resize_mode", "Resize mode", _one_of(tuple(RESIZE_LABELS.values())), RESIZE_LABELS["just_resize"]),
    PasteField("mask_blur", "Mask blur", _whole),
    PasteField("mask_blur_x", "Mask blur x", _whole),
    PasteField("mask_blur_y", "Mask blur y", _whole),
    PasteField("inpainting_mask_invert", "Mask mode", _one_of(MASK_MODES), MASK_MODES[0]),
    PasteField("inpainting_fill", "Masked content", _one_of(CONTENT_LABELS), "original"),
    PasteField("inpaint_full_res", "Inpaint area", _one_of(INPAINT_AREAS), INPAINT_AREAS[0]),
    PasteField("inpaint_full_res_padding", "Masked area padding", _whole, 32),
    PasteField("soft_inpainting_enabled", "Soft inpainting enabled", _flag, False),
    PasteField("soft_inpainting_schedule_bias", "Soft inpainting schedule bias", _number),
    PasteField("soft_inpainting_preservation_strength", "Soft inpainting preservation strength", _number),
    PasteField("soft_inpainting_transition_contrast_boost", "Soft inpainting transition contrast boost", _number),
    PasteField("soft_inpainting_mask_influence", "Soft inpainting mask influence", _number),
    PasteField("soft_inpainting_difference_threshold", "Soft inpainting difference threshold", _number),
    PasteField("soft_inpainting_difference_contrast", "Soft inpainting difference contrast", _number),
    PasteField("outpaint_left", "Outpaint left", _whole, 0),
    PasteField("outpaint_right", "Outpaint right", _whole, 0),
    PasteField("outpaint_top", "Outpaint top", _whole, 0),
    PasteField("outpaint_bottom", "Outpaint bottom", _whole, 0),
)
"""In the order of the page."""

KEYS = frozenset(field.key for field in FIELDS)


def has_second_pass(found: Mapping[str, str]) -> bool:
    """Whether an infotext is of a picture with hires fix: it has a strength, and says how or to which size the picture was enlarged."""
    resized = any(found.get(f"Hires resize-{side}", "0").strip("0") for side in (1, 2))
    return "Denoising strength" in found and (resized or any(key in found for key in ("Hires upscale", "Hires upscaler")))


def is_from_picture(found: Mapping[str, str]) -> bool:
    """Whether an infotext is of a picture that was made from another one: it has a strength, and no second pass that it could be of."""
    return "Denoising strength" in found and not has_second_pass(found)


def img2img_values(found: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """(values of the form by name, the keys whose values could not be read)."""
    values: dict[str, Any] = {}
    unreadable: list[str] = []
    for field in FIELDS:
        if field.key not in found:
            if field.absent is not None:
                values[field.name] = field.absent
            continue
        try:
            values[field.name] = field.read(found[field.key])
        except ValueError:
            unreadable.append(field.key)
    return values, unreadable
