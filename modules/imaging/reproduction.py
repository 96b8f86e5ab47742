"""Will a pasted infotext give its picture again? What became of each of its fields, and the sentence that sums it up.

A value that whoever pastes fills in and the page shows. Knows neither controls nor files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Match = Literal["same", "renamed", "unverified", "different", "missing"]
"""How sure it is that the file here is the picture's: by hash; by hash under another name; by name alone; a file of that name with
another hash; none."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the text, and what became of it."""

    key: str
    value: str
    became: str = ""


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """A model file that the text names, and which file here it is taken to be (empty: none)."""

    kind: str
    name: str
    digest: str
    here: str
    match: Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a pasted text. `differences` are certain, `doubts` are not."""

    applied: tuple[Field, ...] = ()
    """Fields that the form shows now."""
    overrides: tuple[Field, ...] = ()
    """Fields that differ from the settings and hold for the next jobs only."""
    substituted: tuple[Field, ...] = ()
    """Fields that something else stands for here."""
    ignored: tuple[Field, ...] = ()
    """Fields that nothing was done with, and why."""
    models: tuple[ModelMatch, ...] = ()
    differences: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    has_parameters: bool = True

    @property
    def verdict(self) -> str:
        """One line for the user."""
        if not self.has_parameters:
            return "No generation parameters: the text was taken as a plain prompt."
        if self.differences:
            return f"Will differ because {'; '.join(self.differences)}."
        if self.doubts:
            return f"May differ: {'; '.join(self.doubts)}."
        return "Will give the same picture."


HARMLESS = {
    "Version": "names the program that made the picture",
    "Unfinished": "says how far the picture was when it was interrupted",
    "User": "names who made the picture",
    "Init image hash": "names the picture that it was made from",
    "Final denoising strength": "says how the loopback went on that the picture was part of",
    "Denoising curve": "says how the loopback went on that the picture was part of",
}
"""Fields that no picture depends on."""

OTHER_PROGRAMS: Mapping[str, str] = {
    "ComfyUI": "ComfyUI applies weights of words in another way, and makes a batch's noise at once",
    "InvokeAI": "InvokeAI applies weights of words in another way",
    "NovelAI": "NovelAI draws with models and corrections of its own",
    "Fooocus": "Fooocus corrects guidance and sharpness in ways of its own",
}
"""Why the same parameters do not give the very same picture here, by the program that a `Version` field begins with."""

_FEATURES: tuple[tuple[str, str], ...] = (
    (r"Refiner switch by sampling steps", "switching the refiner by sampling steps is"),
    (r"Image CFG scale", "editing by instruction (InstructPix2Pix) is"),
    (r"ControlNet.*", "ControlNet is"),
    (r"ADetailer.*", "ADetailer is"),
    (r"Token merging ratio.*", "token merging is"),
    (r"FP8 weight|Cache FP16 weight for LoRA|Diffusion in Low Bits", "other weight precisions are"),
    (r"VAE Encoder|VAE Decoder", "small autoencoders (TAESD) are"),
    (r"Noise Schedule", "the choice of a noise schedule is"),
    (r"Pad conds v0", "A1111's padding of DDIM and PLMS before 1.6 is"),
    (r"Script|[XYZ] Type|(?:Fixed )?[XYZ] Values|SD upscale .*|Ultimate SD upscale .*", "scripts are"),
    (r"Postprocess.*", "postprocessing is"),
    (r"Distilled CFG Scale|Hires Distilled CFG Scale|Hires CFG Scale|(?:Hires )?Module \d+", "this part of Forge is"),
    (r"Hypernet.*", "hypernetworks are"),
    (r"AddNet.*", "the Additional Networks extension is"),
)


def missing_feature(key: str) -> str | None:
    """The reason why a field of something that this program does not have is ignored; None for a field that nobody knows."""
    subject = next((words for pattern, words in _FEATURES if re.fullmatch(pattern, key)), None)
    return None if subject is None else f"{subject} not part of this program yet"


def written_fields(found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The (key, value) pairs of a text that was parsed without defaults, prompts left out and sizes in one piece again."""
    for key, value in found.items():
        base, dash, side = key.rpartition("-")
        if key in ("Prompt", "Negative prompt") or (dash and side == "2" and f"{base}-1" in found):
            continue
        if dash and side == "1" and f"{base}-2" in found:
            yield base, f"{value}x{found[f'{base}-2']}"
        else:
            yield key, value


def named_hashes(text: str) -> tuple[tuple[str, str], ...]:
    """The (name, hash) pairs of "name: hash, name: hash"; what is no such pair is left out."""
    pairs = (part.rpartition(":") for part in text.split(","))
    return tuple((name.strip(), digest.strip().casefold()) for name, _, digest in pairs if name.strip() and digest.strip())
