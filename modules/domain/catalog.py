"""What there is to choose from: a frozen snapshot of the model files, samplers and schedules, and how names are looked up in it.

A name that a user types is only ever looked up in here, never joined to a path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.networks import EmbeddingInfo, LoraInfo, find_lora

LATENT_UPSCALERS = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
"""What hires fix can enlarge latents with, in A1111's order; the first is the default."""

PIXEL_UPSCALERS = ("None", "Lanczos", "Nearest")
"""What enlarges pictures without a model. "None" is a plain resize."""

AUTOMATIC = "automatic"
"""The schedule id that leaves the choice to the sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerInfo:
    id: str
    label: str
    aliases: tuple[str, ...] = ()
    automatic_schedule: str = "uniform"
    """The schedule id that "Automatic" means for this sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    id: str
    label: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """One model file or diffusers folder. `name` is its path below the models folder with forward slashes, and is unique."""

    name: str
    path: str
    format: str
    """safetensors, ckpt or diffusers."""
    size: int = 0
    modified: float = 0.0
    sha256: str | None = None
    """None until the background hasher has read the file; the short hash is its first ten digits, as in A1111."""
    native_size: int | None = None
    """Side length in pixels that the model was trained at, where its config says so."""
    suited_guidance: float | None = None
    """The CFG scale that the model draws best with, where its config says so."""
    taught_words: tuple[str, ...] = ()
    """Words that the model knows, where its config says so."""

    @property
    def stem(self) -> str:
        """The file's name without folder and extension: what the infotext calls "Model"."""
        base = self.name.rsplit("/", 1)[-1]
        return base.rsplit(".", 1)[0] if self.format != "diffusers" and "." in base else base

    @property
    def short_hash(self) -> str | None:
        return self.sha256[:10] if self.sha256 else None

    @property
    def title(self) -> str:
        """A1111's title: the name and, once known, the short hash in brackets."""
        return f"{self.name} [{self.short_hash}]" if self.sha256 else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeInfo:
    name: str
    path: str
    size: int = 0
    modified: float = 0.0
    sha256: str | None = None

    @property
    def short_hash(self) -> str | None:
        return self.sha256[:10] if self.sha256 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerInfo:
    """One upscaler model's file. `label` is what people choose it by, and is unique."""

    label: str
    path: str
    size: int = 0
    modified: float = 0.0
    aliases: tuple[str, ...] = ()
    """A1111's own name of a file that it downloads by itself, as its pictures say it."""

    @property
    def name(self) -> str:
        """The file's name without its folder, for messages."""
        return self.path.replace("\\", "/").rsplit("/", 1)[-1]


GFPGAN, CODEFORMER = "GFPGAN", "CodeFormer"
"""The two kinds of face restorers, by A1111's names and in the order in which they are applied."""

NO_FACES = "None"
"""In place of a kind: faces stay as they are."""

FACE_FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        GFPGAN: ("GFPGAN", "GFPGANv1.4.pth, or GFPGANv1.3.pth"),
        CODEFORMER: ("Codeformer", "codeformer-v0.1.0.pth, or codeformer.pth"),
    }
)
"""Of each kind the folder below models, which is A1111's, and what its file is called where it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRestorerInfo:
    """One face restorer's file. `kind` is `GFPGAN` or `CODEFORMER`, by the folder that it lies in."""

    kind: str
    path: str
    size: int = 0
    modified: float = 0.0

    @property
    def name(self) -> str:
        """The file's name without its folder, for messages."""
        return self.path.replace("\\", "/").rsplit("/", 1)[-1]


_Named = TypeVar("_Named", CheckpointInfo, VaeInfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything a request may name, at one moment."""

    checkpoints: tuple[CheckpointInfo, ...] = ()
    vaes: tuple[VaeInfo, ...] = ()
    loras: tuple[LoraInfo, ...] = ()
    embeddings: tuple[EmbeddingInfo, ...] = ()
    upscalers: tuple[UpscalerInfo, ...] = ()
    face_restorers: tuple[FaceRestorerInfo, ...] = ()
    """One of each kind at most."""
    samplers: tuple[SamplerInfo, ...] = ()
    schedules: tuple[ScheduleInfo, ...] = ()

    def hires_upscaler(self, text: str) -> str:
        """The label of what enlarges the picture between the passes, in any letter case. Raises `InvalidRequest`."""
        return self._upscaler(text, self.hires_upscalers)

    @property
    def hires_upscalers(self) -> tuple[str, ...]:
        """The labels of all that can enlarge the picture between the passes, the default first."""
        return (*LATENT_UPSCALERS, *PIXEL_UPSCALERS, *(row.label for row in self.upscalers))

    def extras_upscaler(self, text: str) -> str:
        """The label of what enlarges a finished picture, in any letter case. Raises `InvalidRequest`."""
        return self._upscaler(text, self.extras_upscalers)

    @property
    def extras_upscalers(self) -> tuple[str, ...]:
        """The labels of all that can enlarge a finished picture, in A1111's order."""
        return (*PIXEL_UPSCALERS, *(row.label for row in self.upscalers))

    def upscaler_model(self, text: str) -> UpscalerInfo | None:
        """The upscaler model with this label or alias, in any letter case; None where no file answers to it."""
        wanted = text.strip().casefold()
        by_label = next((row for row in self.upscalers if row.label.casefold() == wanted), None)
        return by_label or next((row for row in self.upscalers if wanted in (alias.casefold() for alias in row.aliases)), None)

    def face_restorer(self, kind: str) -> FaceRestorerInfo:
        """The face restorer of this kind. Raises `ModelNotFound` with where to put its file."""
        found = self.restorer_of(kind)
        if found is None:
            folder, file = FACE_FILES[kind]
            raise ModelNotFound(f"There is no {kind} here. Put its weights ({file}) into models/{folder} and refresh the list.")
        return found

    def restorer_of(self, kind: str) -> FaceRestorerInfo | None:
        """The face restorer of this kind; None where there is none."""
        return next((row for row in self.face_restorers if row.kind == kind), None)

    @property
    def usual_restorer(self) -> str:
        """Which kind restores faces where nobody says which: CodeFormer, as in A1111, or GFPGAN where that is all there is."""
        return next((kind for kind in (CODEFORMER, GFPGAN) if self.restorer_of(kind)), CODEFORMER)

    def _upscaler(self, text: str, labels: Sequence[str]) -> str:
        wanted = text.strip().casefold()
        found = next((label for label in labels if label.casefold() == wanted), None)
        if found is None:
            model = self.upscaler_model(text)
            if model is None:
                known = ", ".join(labels)
                raise InvalidRequest(f"There is no upscaler called {text!r}. There are: {known}. Refresh the list if it is new.")
            found = model.label
        return found

    def checkpoint(self, text: str | None) -> CheckpointInfo:
        """The checkpoint called `text` (name, title, stem or hash); None gives the first one. Raises `ModelNotFound`."""
        if not self.checkpoints:
            raise ModelNotFound("There is no checkpoint. Put a .safetensors file into models/Stable-diffusion and refresh the list.")
        if not text:
            return self.checkpoints[0]
        return _find(text, self.checkpoints, "checkpoint", lambda c: (c.name, c.title, c.stem, c.short_hash, c.sha256))

    def vae(self, text: str) -> VaeInfo:
        """The VAE file called `text`. Raises `ModelNotFound`."""
        return _find(text, self.vaes, "VAE", lambda v: (v.name, v.name.rsplit(".", 1)[0], v.name.rsplit("/", 1)[-1], v.short_hash))

    def lora(self, text: str) -> LoraInfo:
        """The LoRA called `text`. Raises `ModelNotFound`."""
        return find_lora(text, self.loras)

    def sampler(self, text: str) -> SamplerInfo:
        """The sampler with this id, label or alias, in any letter case. Raises `InvalidRequest`."""
        return _row(text, self.samplers, "sampler")

    def schedule(self, text: str) -> ScheduleInfo:
        """The schedule with this id, label or alias, in any letter case. Raises `InvalidRequest`."""
        return _row(text, self.schedules, "schedule type")

    def sampler_and_schedule(self, text: str, schedule: str = "") -> tuple[SamplerInfo, ScheduleInfo]:
        """What a sampler's name and a schedule's, if there is one, mean together. Raises `InvalidRequest`.

        Names from before A1111 1.9 hold both ("DPM++ 2M Karras"); a schedule that is named besides wins over that. What the sampler takes
        on its own anyway is "automatic".
        """
        named = self.schedule(schedule) if schedule else None
        sampler, ending = self.split_sampler(text)
        chosen = named if named is not None and named.id != AUTOMATIC else ending
        if chosen is None or (chosen.id == sampler.automatic_schedule and chosen.id != "uniform"):
            chosen = self.schedule(AUTOMATIC)
        return sampler, chosen

    def split_sampler(self, text: str) -> tuple[SamplerInfo, ScheduleInfo | None]:
        """The sampler, and the schedule that its name ends in, as names from before A1111 1.9 may. Raises `InvalidRequest`."""
        wanted = text.strip().casefold()
        if not any(wanted in _names(row) for row in self.samplers):
            for schedule in self.schedules:
                for ending in _names(schedule):
                    rest = wanted.removesuffix(ending).rstrip(" _")
                    sampler = next((row for row in self.samplers if rest != wanted and rest in _names(row)), None)
                    if sampler is not None:
                        return sampler, schedule
        return self.sampler(text), None


class CatalogSource(Protocol):
    """The live catalogue behind the snapshots."""

    def snapshot(self) -> Catalog: ...

    def refresh(self) -> Catalog:
        """Look at the disk again and return the new snapshot."""
        ...


def _find(text: str, rows: Sequence[_Named], kind: str, keys: Callable[[_Named], tuple[str | None, ...]]) -> _Named:
    """The row one of whose keys is `text`; an earlier key (the full name) wins over a later one (the hash)."""
    wanted = text.strip().casefold()
    ranks = len(keys(rows[0])) if rows else 0
    for rank in range(ranks):
        hits = [row for row in rows if (keys(row)[rank] or "").casefold() == wanted]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise ModelNotFound(f"More than one {kind} is called {text!r}: {', '.join(row.name for row in hits)}. Use the full name.")
    known = ", ".join(row.name for row in rows[:8]) or "none"
    more = ", …" if len(rows) > 8 else ""
    raise ModelNotFound(f"There is no {kind} called {text!r}. Found: {known}{more}. Refresh the list if it is new.")


_Row = TypeVar("_Row", SamplerInfo, ScheduleInfo)


def _row(text: str, rows: Sequence[_Row], kind: str) -> _Row:
    wanted = text.strip().casefold()
    for row in rows:
        if wanted in _names(row):
            return row
    raise InvalidRequest(f"There is no {kind} called {text!r}. There are: {', '.join(row.label for row in rows)}.")


def _names(row: SamplerInfo | ScheduleInfo) -> tuple[str, ...]:
    return (row.id.casefold(), row.label.casefold(), *(alias.casefold() for alias in row.aliases))
