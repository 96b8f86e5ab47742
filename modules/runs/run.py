"""One accepted run of a script: what it began with, everything that was frozen with it, and how it is going. A value, not a live thing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from modules.domain.jobs import Job, JobRequest
from modules.domain.requests import GenerationRequest
from modules.scripts.script import Sheet
from modules.settings.schema import Settings

RunState = Literal["running", "paused", "cancelling", "done", "failed", "cancelled"]
"""`cancelling` still waits for its current job, and makes a sheet of what there is."""

ACTIVE: tuple[RunState, ...] = ("running", "paused", "cancelling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of the runs. `request` is frozen as a job's is, and `settings` hold for all of its jobs.

    `round` counts how often it was begun again: to go on after a failure, or with more values.
    """

    id: str
    seq: int
    state: RunState
    script: str
    tab: str
    request: GenerationRequest
    settings: Settings
    values: dict[str, Any]
    entropy: int
    owner: str
    source: str
    created: float
    finished: float | None = None
    round: int = 0
    error: str = ""
    notes: tuple[str, ...] = ()
    sheet: Sheet | None = None
    shown: tuple[str, ...] | None = None
    """The single pictures that its script wants to be seen, None for all."""

    @property
    def active(self) -> bool:
        """Whether something will still happen, be it after a pause."""
        return self.state in ACTIVE

    def as_job(self) -> Job:
        """What the gallery and the API's answers take for the job of the run's own pictures: it has the run's id."""
        return Job(
            id=self.id,
            seq=self.seq,
            state="running" if self.active else self.state if self.state in ("done", "failed", "cancelled") else "running",
            request=self.request,
            settings=self.settings,
            entropy=self.entropy,
            owner=self.owner,
            source=self.source,
            created=self.created,
            started=self.created,
            finished=self.finished,
            error=self.error,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """`done` of `total` jobs are over, `job_id` is the one that runs or comes next, empty where there is none.

    `pace` is how many seconds one of them takes lately, None while none is known.
    """

    done: int
    total: int
    job_id: str = ""
    pace: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanged:
    """What subscribers hear: a run was accepted, went on, or ended."""

    run: Run


def request_key(request: JobRequest) -> str:
    """The same for equal requests only: how a run that is played again finds its jobs."""
    return hashlib.sha256(json.dumps(request.to_json(), sort_keys=True).encode()).hexdigest()[:32]
