"""How was a picture of another program made, in A1111's words? What all readers of foreign metadata fill in; it becomes an infotext."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from modules.imaging.infotext import format_infotext

MAX_JSON = 8_000_000
"""Characters of metadata that are looked at: ComfyUI's largest workflows have two million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is None is not known. Names of samplers, schedules and models are as the other program or A1111 writes them."""

    program: str
    """Its name, with its version if it tells one."""
    prompt: str = ""
    negative: str = ""
    steps: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    cfg: float | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None
    """(width, height)."""
    model: str | None = None
    model_hash: str | None = None
    vae: str | None = None
    denoising: float | None = None
    clip_skip: int | None = None
    ensd: int | None = None
    noise: str | None = None
    """A1111's name of the noise source."""
    more: tuple[tuple[str, object], ...] = ()
    """Further fields of the infotext."""

    def infotext(self) -> str:
        """The recipe as A1111 would have written it."""
        fields = (
            ("Steps", self.steps),
            ("Sampler", self.sampler),
            ("Schedule type", self.schedule),
            ("CFG scale", None if self.cfg is None else f"{self.cfg:g}"),
            ("Seed", self.seed),
            ("Size", "{}x{}".format(*self.size) if self.size else None),
            ("Model hash", self.model_hash),
            ("Model", self.model),
            ("VAE", self.vae),
            ("Denoising strength", None if self.denoising is None else f"{self.denoising:g}"),
            ("Clip skip", self.clip_skip if self.clip_skip and self.clip_skip > 1 else None),
            ("ENSD", self.ensd),
            ("RNG", self.noise),
            *self.more,
            ("Version", self.program),
        )
        return format_infotext(self.prompt, self.negative, fields)


def json_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; empty for everything else, whatever it is."""
    if len(text) > MAX_JSON or text.lstrip()[:1] != "{":
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def inner(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object at `key`; empty where there is none."""
    found = values.get(key)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def items(values: Mapping[str, Any], key: str) -> list[Any]:
    """The list at `key`; empty where there is none."""
    found = values.get(key)
    return cast("list[Any]", found) if isinstance(found, list) else []


def text_of(value: object) -> str:
    """A text; what is none is empty."""
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """A whole number, or a text or float that is one."""
    found = real(value)
    if isinstance(value, int) or found is None:
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64 else None
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value):
        return int(value)
    return int(found) if found == int(found) else None


def real(value: object) -> float | None:
    """A finite number, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and len(value) > 40):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def pair(width: object, height: object) -> tuple[int, int] | None:
    """(width, height), where both are known."""
    found = whole(width), whole(height)
    return (found[0], found[1]) if found[0] and found[1] and min(found[0], found[1]) > 0 else None


def stem(name: str) -> str:
    """A model file's name without folders and ending."""
    return re.sub(r"\.(safetensors|ckpt|pth?|sft|gguf)$", "", re.split(r"[\\/]", name)[-1], flags=re.IGNORECASE)


def lora_tag(name: object, unet: object, text: object = None) -> str:
    """The prompt's `<lora:…>` for a LoRA of another program; empty where its name is none, or it is at 0."""
    on_unet, on_text = real(unet), real(text)
    file = stem(text_of(name))
    if not file or file == "None" or on_unet is None or (on_unet == 0 and not on_text):
        return ""
    return f"<lora:{file}:{on_unet:g}>" if on_text is None or on_text == on_unet else f"<lora:{file}:{on_text:g}:{on_unet:g}>"


def joined(*parts: str) -> str:
    """The parts that are not empty, one blank between."""
    return " ".join(part for part in parts if part)
