"""The only thing that flows back: what the engine and the queue say about a job, as frozen picklable values.

`attempt` fences them: an event of an attempt that was given up is dropped before any subscriber sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from modules.domain.results import SavedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    job_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued(_Event):
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(_Event):
    image_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(_Event):
    """What the engine is doing while no steps are counted: "Loading starter", "Decoding"."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(_Event):
    """`step` of `steps` within batch `batch` of `batches` (all counted from 1, for people); `preview` is a small JPEG."""

    step: int
    steps: int
    batch: int
    batches: int
    preview: bytes | None = None
    loss: float | None = None
    """Of a training's step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDone(_Event):
    """The engine has written a finished file, metadata included, to `staged`; it has no name yet."""

    index: int
    kind: str
    staged: str
    """Path of a complete file below the staging folder; its suffix says the format."""
    width: int
    height: int
    seed: int
    infotext: str
    prompt: str = ""
    name_fields: tuple[tuple[str, str], ...] = ()
    """Values for the file-name pattern that are not in the picture itself (sampler, steps, model_name …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSaved(_Event):
    """The saver gave a staged picture its name and row. Published by the saver, not by the engine."""

    image: SavedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Event):
    """`notes` are sentences for the user about what was done differently from what was asked (never empty words)."""

    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Event):
    """`reason` is a sentence for the user. `kind` is the error's class name."""

    reason: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(_Event):
    """The user interrupted the job; pictures finished before that are kept."""

    seconds: float = 0.0


JobEvent = Queued | Started | Stage | StepDone | ImageDone | ImageSaved | Finished | Failed | Cancelled

TERMINAL = (Finished, Failed, Cancelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """Not about a job: the engine process itself. `state` is starting, ready, busy or restarting."""

    state: str
    text: str = ""
    device: str = ""
