"""One accepted click: the request, everything that was frozen with it, and how it is going.

A value, not a live thing: ask the queue again for a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modules.domain.checks import check
from modules.domain.extras import KIND, ExtrasRequest
from modules.domain.merging import KIND as MERGE
from modules.domain.merging import MergeRequest
from modules.domain.requests import GenerationRequest
from modules.domain.training import KIND as TRAIN
from modules.domain.training import TrainRequest

JobRequest = GenerationRequest | ExtrasRequest | MergeRequest | TrainRequest
"""What can be asked for. Each has `tab`, `prompt`, `inputs`, `image_count`, `overrides` and `to_json`."""

JobState = Literal["queued", "running", "done", "failed", "cancelled", "quarantined"]
"""`quarantined` is failed because the engine died with it twice; it is not tried again by itself."""

_CLICK = "click-"

ACTIVE: tuple[JobState, ...] = ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the queue. `seq` counts accepted jobs, times are wall-clock seconds, `attempt` counts the tries that were begun.

    `request` has its checkpoint, VAE and clip skip filled in from `settings`, the frozen `modules.settings.schema.Settings` of the click.
    """

    id: str
    seq: int
    state: JobState
    request: JobRequest
    settings: Any
    entropy: int
    """What random seeds are drawn from, so that a second attempt draws the same ones."""
    owner: str = ""
    source: str = "ui"
    created: float
    started: float | None = None
    finished: float | None = None
    attempt: int = 0
    crashes: int = 0
    """How many attempts ended with the engine's or the program's death."""
    idempotency_key: str | None = None
    error: str = ""
    notes: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it still waits or runs."""
        return self.state in ACTIVE

    @property
    def click(self) -> str:
        """What the jobs of one click have in common; empty for one that stands alone."""
        key = self.idempotency_key or ""
        return key.rpartition("#")[0] if key.startswith(_CLICK) else ""


def click_keys(click: str, count: int) -> list[str | None]:
    """Idempotency keys for as many jobs of one click, by which `Job.click` knows them; `click` is told by no other."""
    return [f"{_CLICK}{click}#{number}" for number in range(count)] if count > 1 else [None] * count


def request_from_json(data: Mapping[str, Any]) -> JobRequest:
    """The request whose `to_json` wrote this. Raises `InvalidRequest` for a kind or a field that this version does not know."""
    kind = data.get("kind")
    if kind is None:
        return GenerationRequest.from_json(data)
    if kind == TRAIN:
        return TrainRequest.from_json(data)
    if kind == MERGE:
        return MergeRequest.from_json(data)
    check(kind == KIND, f"This version does not know requests of the kind {kind!r}.")
    return ExtrasRequest.from_json(data)


def makes_files(request: JobRequest) -> bool:
    """Whether the request is for a file that models are read from, whatever pictures there are on the way."""
    return isinstance(request, MergeRequest | TrainRequest)


def name_of(request: JobRequest) -> str:
    """What a job is called that has no prompt: its source's file, or what it makes; empty for one that is drawn."""
    if isinstance(request, MergeRequest):
        return request.title
    return request.name if isinstance(request, ExtrasRequest) else ""
