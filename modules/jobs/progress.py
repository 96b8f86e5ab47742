"""How far each active job is, from its events: A1111's fraction, the time left, the last preview.

Memory only and only for active jobs: what a finished job needs is in the store. Knows no threads but its own lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from modules.domain.events import TERMINAL, JobEvent, Stage, Started, StepDone


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a job stands. Steps and batches count from 1, for people; `fraction` is from 0 to 1 over all batches.

    `preview_id` grows with every new preview. `queue_position` is the number of jobs that come first, 0 once it runs.
    """

    state: str
    step: int = 0
    steps: int = 0
    batch: int = 0
    batches: int = 0
    fraction: float = 0.0
    eta_seconds: float | None = None
    text: str = ""
    preview_id: int = 0
    queue_position: int = 0
    loss: float | None = None
    """Of a training's last step."""


@dataclass(slots=True)
class _Entry:
    progress: Progress
    preview: bytes | None = None
    first_fraction: float = 0.0
    first_time: float | None = None


class ProgressBoard:
    """Takes every event of every job and answers from any thread. `clock` is monotonic seconds: wall-clock jumps change nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def take(self, event: JobEvent) -> None:
        """Note what the event says."""
        with self._lock:
            if isinstance(event, TERMINAL):
                self._entries.pop(event.job_id, None)
            elif isinstance(event, Started):
                self._entries[event.job_id] = _Entry(Progress(state="running"))
            elif isinstance(event, Stage):
                entry = self._entry(event.job_id)
                entry.progress = replace(entry.progress, text=event.text)
            elif isinstance(event, StepDone):
                self._step(event)

    def forget(self, job_id: str) -> None:
        """Drop what is known of a job: it is over, or begins again."""
        with self._lock:
            self._entries.pop(job_id, None)

    def progress(self, job_id: str) -> Progress | None:
        """Where a running job stands; None when nothing was heard of it (it waits, or is over)."""
        with self._lock:
            entry = self._entries.get(job_id)
            return None if entry is None else replace(entry.progress, eta_seconds=self._seconds_left(entry))

    def preview(self, job_id: str) -> bytes | None:
        """The newest preview, a small JPEG."""
        with self._lock:
            entry = self._entries.get(job_id)
            return None if entry is None else entry.preview

    def _entry(self, job_id: str) -> _Entry:
        return self._entries.setdefault(job_id, _Entry(Progress(state="running")))

    def _step(self, event: StepDone) -> None:
        entry = self._entry(event.job_id)
        fraction = _fraction(event)
        now = self._clock()
        if entry.first_time is None:
            entry.first_time, entry.first_fraction = now, fraction
        entry.progress = Progress(
            state="running",
            step=event.step,
            steps=event.steps,
            batch=event.batch,
            batches=event.batches,
            fraction=fraction,
            preview_id=entry.progress.preview_id + (event.preview is not None),
            loss=event.loss,
        )
        entry.preview = event.preview or entry.preview

    def _seconds_left(self, entry: _Entry) -> float | None:
        """From the speed since the first step, so that loading the model does not count; None until there are two steps to compare."""
        done = entry.progress.fraction - entry.first_fraction
        if entry.first_time is None or done <= 0.0:
            return None
        elapsed = self._clock() - entry.first_time
        return max(0.0, elapsed / done * (1.0 - entry.progress.fraction))


def _fraction(event: StepDone) -> float:
    """A1111's: whole batches that are done, and the current one by its steps."""
    batches, steps = max(1, event.batches), max(1, event.steps)
    return min(1.0, max(0.0, (event.batch - 1 + event.step / steps) / batches))
