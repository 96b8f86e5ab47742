"""The seam between the web process and the engine: what goes over it, and what stands at either end.

Everything here is plain data or a protocol; this module knows neither torch nor the web.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from modules.domain.catalog import Catalog
from modules.domain.events import EngineStatus, JobEvent
from modules.domain.jobs import JobRequest

DEVICE_FAULT_EXIT_CODE = 70
"""What an engine process ends with when its device is beyond repair within the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    """One attempt at one job, complete: an engine that has this needs nothing else from the web process.

    `settings` is the frozen snapshot of the moment of the click (a `modules.settings.schema.Settings`). `entropy` makes random seeds
    repeatable: a second attempt draws the same. `done` are the indices that an earlier attempt already saved.
    """

    job_id: str
    attempt: int
    request: JobRequest
    settings: Any
    catalog: Catalog
    entropy: int
    staging: str
    inputs: str = ""
    """The folder of the pictures that requests begin from, by id."""
    done: frozenset[int] = frozenset()


class Control(Protocol):
    """How a running job learns what the user wants of it; asked after every step."""

    def interrupted(self) -> bool:
        """Whether the job is to end now."""
        ...

    def ending(self) -> bool:
        """Whether no further batch is to begin; also true of an interrupted job."""
        ...

    def skipped(self) -> bool:
        """True once for each press of Skip: leave this batch, go on with the next."""
        ...


class Runner(Protocol):
    """The engine's end: runs one job to its end, says everything through `emit`, and ends with exactly one terminal event."""

    def run(self, job: RunJob, emit: Callable[[JobEvent], None], control: Control) -> None: ...

    def status(self) -> EngineStatus: ...

    def unload(self) -> None:
        """Give the device memory back; the next job loads again."""
        ...


class Executor(Protocol):
    """The web process's end: in-process for tests, a child process by default, later a cluster."""

    def start(self, on_status: Callable[[EngineStatus], None]) -> None:
        """Begin to make the engine ready; returns at once."""
        ...

    def run(self, job: RunJob, emit: Callable[[JobEvent], None]) -> None:
        """Run to the terminal event, calling `emit` in order. Raises `EngineDied` when the engine is gone; it is being restarted then."""
        ...

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> None:
        """End this job within a step, or with the batch that is being drawn."""
        ...

    def skip(self, job_id: str) -> None: ...

    def unload(self) -> None: ...

    def close(self) -> None:
        """End the engine and wait for it."""
        ...
