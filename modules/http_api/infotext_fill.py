"""What does a request's `infotext` stand for? It fills every field that the request does not set, as pasting it into the page would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from modules.domain.errors import InvalidRequest
from modules.domain.img2img import MASKED_CONTENTS, RESIZE_LABELS, RESIZE_MODES, SoftInpainting
from modules.http_api.models import GenerationBody, Img2ImgBody
from modules.http_api.scripts import SOFT_INPAINTING
from modules.imaging.infotext import parse_infotext
from modules.imaging.infotext_options import OPTIONS
from modules.imaging.infotext_versions import implied_fields
from modules.settings.schema import Settings
from modules.settings.values import checked_options

_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "Prompt",
        "negative_prompt": "Negative prompt",
        "steps": "Steps",
        "sampler_name": "Sampler",
        "scheduler": "Schedule type",
        "cfg_scale": "CFG scale",
        "seed": "Seed",
        "width": "Size-1",
        "height": "Size-2",
        "subseed": "Variation seed",
        "subseed_strength": "Variation seed strength",
        "seed_resize_from_w": "Seed resize from-1",
        "seed_resize_from_h": "Seed resize from-2",
        "denoising_strength": "Denoising strength",
        "refiner_checkpoint": "Refiner",
        "refiner_switch_at": "Refiner switch at",
        "hr_scale": "Hires upscale",
        "hr_upscaler": "Hires upscaler",
        "hr_second_pass_steps": "Hires steps",
        "hr_resize_x": "Hires resize-1",
        "hr_resize_y": "Hires resize-2",
        "hr_checkpoint_name": "Hires checkpoint",
        "hr_sampler_name": "Hires sampler",
        "hr_scheduler": "Hires schedule type",
        "hr_prompt": "Hires prompt",
        "hr_negative_prompt": "Hires negative prompt",
        "mask_blur": "Mask blur",
        "inpaint_full_res_padding": "Masked area padding",
        "mask_blur_x": "Mask blur x",
        "mask_blur_y": "Mask blur y",
    }
)
"""Request field to infotext field."""

_MASKED_CONTENT = tuple(name.replace("_", " ") for name in MASKED_CONTENTS)
_RESIZE_MODES = tuple(RESIZE_LABELS[name] for name in RESIZE_MODES)

_Body = TypeVar("_Body", bound=GenerationBody)


def with_infotext(body: _Body, settings: Settings) -> _Body:
    """`body` with the fields that it left open filled from its infotext; what fits no field is left alone.

    The settings say whether the picture's checkpoint is taken over, and what an old version of the text implies.
    """
    if not body.infotext:
        return body
    found = parse_infotext(body.infotext, defaults=False)
    given = body.model_dump(exclude_unset=True)
    soft = _soft_inpainting(found) if isinstance(body, Img2ImgBody) else {}
    for name, value in {**_plain(found), **_derived(found), **soft}.items():
        if name in type(body).model_fields and name not in given and _fits(body, name, value):
            given[name] = value
    given["override_settings"] = {**_options(found, settings), **(body.override_settings or {})}
    return type(body).model_validate(given)


def _options(found: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    implied = implied_fields(found) if settings.compatibility.auto_backcompat else {}
    options: dict[str, Any] = {}
    for key, text in {**implied, **found}.items():
        if key in OPTIONS:
            option, read = OPTIONS[key]
            options |= _suiting(option, text, read)
    if "VAE" in found:
        options["sd_vae"] = found["VAE"]
    if "Model" in found and not settings.page.keep_checkpoint_on_paste:
        options["sd_model_checkpoint"] = found["Model"]
    return options


def _plain(found: Mapping[str, str]) -> dict[str, Any]:
    return {name: found[key] for name, key in _FIELDS.items() if key in found}


def _derived(found: Mapping[str, str]) -> dict[str, Any]:
    """The fields that follow from more than one of the text's."""
    values: dict[str, Any] = {}
    if "Denoising strength" in found and any(key in found for key in ("Hires upscale", "Hires upscaler", "Hires resize-1")):
        values["enable_hr"] = True
    if any(key in found for key in ("Inpaint area", "Mask blur", "Mask blur x", "Masked content")):
        values["inpaint_full_res"] = found.get("Inpaint area") == "Only masked"
        content = found.get("Masked content", "original")
        values["inpainting_fill"] = _MASKED_CONTENT.index(content) if content in _MASKED_CONTENT else 1
        values["inpainting_mask_invert"] = int(found.get("Mask mode") == "Inpaint not masked")
    if found.get("Resize mode") in _RESIZE_MODES:
        values["resize_mode"] = _RESIZE_MODES.index(found["Resize mode"])
    if found.get("Refiner"):
        values["refiner_checkpoint"] = found["Refiner"].split(" [")[0]
    return values


def _soft_inpainting(found: Mapping[str, str]) -> dict[str, Any]:
    if found.get("Soft inpainting enabled") != "True":
        return {}
    numbers = [_number(found.get(f"Soft inpainting {item.name.replace('_', ' ')}", "")) for item in fields(SoftInpainting)]
    return {"alwayson_scripts": {SOFT_INPAINTING: {"args": [True, *numbers]}}}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _fits(body: GenerationBody, name: str, value: Any) -> bool:
    try:
        type(body).model_validate({name: value})
    except ValidationError:
        return False
    return True


def _suiting(option: str, text: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """The option with the value that `text` says; nothing where it says none that fits."""
    try:
        value = read(text)
        checked_options({option: value}, host=False)
    except (ValueError, InvalidRequest):
        return {}
    return {option: value}
