"""What happens to an accepted job: it waits, runs, has its pictures saved, and ends, whatever dies meanwhile.

One worker thread takes jobs from the store and hands them to the executor; events flow back through here to whoever subscribed. It names no
files and draws nothing. A job whose `submit` returned is on the disk.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from modules.domain.catalog import CatalogSource
from modules.domain.errors import EngineDied, InvalidRequest, StorageError
from modules.domain.events import TERMINAL, Cancelled, EngineStatus, Failed, Finished, ImageDone, ImageSaved, JobEvent, Queued
from modules.domain.jobs import Job, JobRequest, JobState, makes_files
from modules.domain.results import SavedImage
from modules.domain.viewers import Owners
from modules.jobs.acceptance import freeze
from modules.jobs.progress import Progress, ProgressBoard
from modules.jobs.protocol import Executor, RunJob
from modules.jobs.store import JobStore
from modules.settings.schema import Settings

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

Sink = Callable[[JobEvent | EngineStatus], None]

KEPT = "kept-"
"""Prefix of staged pictures that could not be saved anywhere: the next start leaves them alone."""

_RETRY_SECONDS = 1.0
_GOODBYE_SECONDS = 15.0


@dataclass(slots=True)
class _Run:
    """The attempt that is running. Its events are let through until `over`; all others are of attempts that were given up."""

    job: Job
    wants_cancel: bool = False
    over: bool = False
    notes: list[str] = field(default_factory=lambda: list[str]())
    unsaved: list[str] = field(default_factory=lambda: list[str]())


class JobQueue:
    """Accepts, orders and runs jobs. Every method may be called from any thread.

    `commit_image` gives a staged picture its name and row; called again for the same picture it returns the row that is there.
    `saved_indices` says which pictures of a job have one. `staging` is the folder of staged files, emptied at the start,
    `inputs` that of the pictures that requests begin from.
    """

    def __init__(
        self,
        store: JobStore,
        executor: Executor,
        catalog: CatalogSource,
        settings: Callable[[], Settings],
        commit_image: Callable[[ImageDone, Job], SavedImage],
        saved_indices: Callable[[str], frozenset[int]],
        staging: Path,
        inputs: Path,
    ) -> None:
        self._store, self._executor, self._catalog, self._settings = store, executor, catalog, settings
        self._commit_image, self._saved_indices = commit_image, saved_indices
        self._staging, self._inputs = staging, inputs
        self._lock = threading.Condition(threading.RLock())
        self._board = ProgressBoard()
        self._engine = EngineStatus(state="starting")
        self._sinks: dict[object, Sink] = {}
        self._run: _Run | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        for job_id, state in store.recover():
            log.warning("job %s was running when the program ended; it is %s", job_id, state)
        _clear_staging(staging, "*")

    @property
    def engine(self) -> EngineStatus:
        """What the engine process is doing."""
        return self._engine

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the queue's own file."""
        return self._store.problems

    def start(self) -> None:
        """Start the engine and the worker; returns at once."""
        self._executor.start(self._engine_says)
        self._thread = threading.Thread(target=self._work, name="job-queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the engine and the worker. What was running is queued again for the next start, in front."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._executor.close()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def frozen(self, request: JobRequest, settings: Settings | None = None) -> tuple[JobRequest, Settings]:
        """The request as `submit` would keep it, and its settings: those of this moment, or the given ones. Raises as `submit` does."""
        return freeze(request, settings or self._settings(), self._catalog.snapshot(), self._inputs)

    def submit(
        self,
        request: JobRequest,
        *,
        source: str = "ui",
        owner: str = "",
        idempotency_key: str | None = None,
        settings: Settings | None = None,
    ) -> Job:
        """Accept a request with the settings of this moment, or the given ones; it is on the disk when this returns.

        The same `owner` and `idempotency_key` again give the same job. Raises `InvalidRequest`, `ModelNotFound`, `QueueFull` and
        `StorageError`.
        """
        frozen, settings = self.frozen(request, settings)
        with self._lock:
            key, limit = idempotency_key, settings.system.queue_limit
            job, new = self._store.add(frozen, settings, owner=owner, source=source, idempotency_key=key, limit=limit)
            if new:
                self._publish(Queued(job_id=job.id, position=self._store.position(job.id)))
                self._lock.notify_all()
        return job

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> bool:
        """End this job: at once when it waits, within a step or `after_batch` when it runs. False when it is over already."""
        with self._lock:
            run = self._run
            if run is not None and run.job.id == job_id:
                run.wants_cancel = True
                self._executor.interrupt(job_id, after_batch=after_batch)
                return True
            if not self._store.cancel(job_id):
                return False
            self._publish(Cancelled(job_id=job_id))
            return True

    def skip(self, job_id: str) -> bool:
        """Leave the current batch of this job; False when it does not run."""
        with self._lock:
            if self._run is None or self._run.job.id != job_id:
                return False
            self._executor.skip(job_id)
            return True

    def clear(self, owners: Owners) -> list[str]:
        """Cancel all waiting jobs of `owners`, not the running one; their ids."""
        with self._lock:
            ids = self._store.cancel_waiting(owners)
            for job_id in ids:
                self._publish(Cancelled(job_id=job_id))
        return ids

    def move_first(self, job_id: str) -> bool:
        """Let a waiting job be the next; False when it does not wait."""
        with self._lock:
            moved = self._store.move_first(job_id)
            if moved:
                self._publish(Queued(job_id=job_id, position=self._store.position(job_id)))
        return moved

    def get(self, job_id: str) -> Job | None:
        """The job as it is now, or None."""
        return self._store.get(job_id)

    def list(self, owners: Owners = None, limit: int = 100, active_only: bool = False) -> list[Job]:
        """Jobs, the last accepted first; with `active_only` what runs and waits, in the order in which it will be done."""
        return self._store.active(owners, limit) if active_only else self._store.latest(owners, limit)

    def inputs(self) -> frozenset[str]:
        """The ids of the pictures that jobs which run or wait begin from."""
        return frozenset(name for job in self._store.active() for name in job.request.inputs)

    def progress(self, job_id: str) -> Progress:
        """Where a job stands. Raises `InvalidRequest` for an id that never was."""
        known = self._board.progress(job_id)
        if known is not None:
            return known if known.text or self._engine.state == "busy" else replace(known, text=self._engine.text)
        job = self._store.get(job_id)
        if job is None:
            raise InvalidRequest("There is no such job.")
        if job.state == "queued":
            return Progress(state="queued", queue_position=self._store.position(job_id), text=_waiting_text(job))
        if job.state == "running":
            return Progress(state="running", text=self._engine.text)
        return Progress(state=job.state, fraction=1.0 if job.state == "done" else 0.0, text=job.error)

    def preview(self, job_id: str) -> bytes | None:
        """The newest preview of a running job, a small JPEG."""
        return self._board.preview(job_id)

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Call `sink` with every event of every job and every change of the engine, in the thread where it happens: it must be quick.

        Pictures come as `ImageSaved`, never as `ImageDone`. Returns the way out.
        """
        token = object()
        with self._lock:
            self._sinks[token] = sink

        def unsubscribe() -> None:
            with self._lock:
                self._sinks.pop(token, None)

        return unsubscribe

    def unload(self) -> None:
        """Let the engine give the device memory back; the next job loads again."""
        self._executor.unload()

    def _engine_says(self, status: EngineStatus) -> None:
        self._engine = status
        self._publish(status)

    def _publish(self, event: JobEvent | EngineStatus) -> None:
        if not isinstance(event, EngineStatus):
            self._board.take(event)
        with self._lock:
            sinks = tuple(self._sinks.values())
        for sink in sinks:
            _deliver(event, sink)

    def _work(self) -> None:
        """The worker's thread."""
        while True:
            run = self._next()
            if run is None:
                return
            try:
                self._attempt(run)
            except Exception as error:
                log.exception("job %s failed by a defect of this program", run.job.id)
                self._end(run, _defect(run.job, error))
            with self._lock:
                self._run = None
            _clear_staging(self._staging, f"{run.job.id}-*")

    def _next(self) -> _Run | None:
        with self._lock:
            while not self._closing:
                try:
                    job = self._store.claim()
                except StorageError as error:
                    log.error("the queue waits: %s", error)
                    self._lock.wait(_RETRY_SECONDS)
                    continue
                if job is not None:
                    self._run = _Run(job)
                    return self._run
                self._lock.wait()
        return None

    def _attempt(self, run: _Run) -> None:
        job = run.job
        done = self._insist(lambda: self._saved_indices(job.id))
        if done is None:  # the program ends, and the next start finds the job
            return
        if not makes_files(job.request) and done >= set(range(job.request.image_count)):
            return self._end(run, Finished(job_id=job.id, attempt=job.attempt, seconds=0.0))
        self._staging.mkdir(parents=True, exist_ok=True)
        order = RunJob(
            job_id=job.id,
            attempt=job.attempt,
            request=job.request,
            settings=job.settings,
            catalog=self._catalog.snapshot(),
            entropy=job.entropy,
            staging=str(self._staging),
            inputs=str(self._inputs),
            done=done,
        )
        try:
            self._executor.run(order, lambda event: self._take(run, event))
        except EngineDied as error:
            self._engine_died(run, str(error))
        if not run.over:
            reason = "The engine ended the job without a result."
            self._end(run, Failed(job_id=job.id, attempt=job.attempt, reason=reason, kind="EngineDied"))

    def _take(self, run: _Run, event: JobEvent) -> None:
        """An event from the executor; one of an attempt that was given up stops here."""
        if run.over or (event.job_id, event.attempt) != (run.job.id, run.job.attempt):
            log.info("dropped a late %s of job %s, attempt %d", type(event).__name__, event.job_id, event.attempt)
        elif isinstance(event, ImageDone):
            self._save(run, event)
        elif isinstance(event, TERMINAL):
            self._end(run, event)
        else:
            self._publish(event)

    def _save(self, run: _Run, event: ImageDone) -> None:
        try:
            image = self._commit_image(event, run.job)
        except StorageError as error:
            log.error("picture %d of job %s: %s", event.index, run.job.id, error)
            staged = Path(event.staged)
            with contextlib.suppress(OSError):
                staged.rename(staged.with_name(KEPT + staged.name))
            run.unsaved.append(str(error))
            return
        if image.note and image.note not in run.notes:
            run.notes.append(image.note)
        self._publish(ImageSaved(job_id=run.job.id, attempt=run.job.attempt, image=image))

    def _end(self, run: _Run, event: Finished | Failed | Cancelled) -> None:
        """The job's last event: first the row, then the subscribers."""
        job = run.job
        if run.over:
            return
        run.over = True
        if isinstance(event, Finished) and makes_files(job.request):
            self._catalog.refresh()  # the new file is on offer before anybody hears of it
        if isinstance(event, Cancelled) and self._closing and not run.wants_cancel:
            self._insist(lambda: self._store.give_back(job.id, job.attempt, crashed=False))
            return
        if run.unsaved and not isinstance(event, Failed):
            event = Failed(job_id=job.id, attempt=job.attempt, reason=run.unsaved[0], kind=StorageError.__name__)
        state, error, notes = _outcome(event, run.notes)
        if self._insist(lambda: self._store.finish(job.id, job.attempt, state, error=error, notes=notes)):
            self._publish(replace(event, notes=notes) if isinstance(event, Finished) else event)

    def _engine_died(self, run: _Run, reason: str) -> None:
        """Once more from the front of the queue, or never again; under the lock, so that Interrupt finds the job running or waiting."""
        job = run.job
        with self._lock:
            if run.over:
                return
            if run.wants_cancel:
                self._end(run, Cancelled(job_id=job.id, attempt=job.attempt))
                return
            run.over = True
            crashed = not self._closing
            error = f"{reason} That happened {job.crashes + 1} times with this job, so it is not tried again."
            state = self._insist(lambda: self._store.give_back(job.id, job.attempt, crashed=crashed, error=error))
            self._board.forget(job.id)
            if state == "quarantined":
                self._publish(Failed(job_id=job.id, attempt=job.attempt, reason=error, kind=EngineDied.__name__))
            elif state == "queued":
                self._publish(Queued(job_id=job.id, attempt=job.attempt, position=0))
            self._run = None

    def _insist(self, change: Callable[[], _Answer]) -> _Answer | None:
        """Make a change that must not be lost; with a full disk, try until there is room again or the program ends."""
        while True:
            try:
                return change()
            except StorageError as error:
                log.error("the queue waits: %s", error)
            with self._lock:
                if self._closing:
                    return None
                self._lock.wait(_RETRY_SECONDS)


def _deliver(event: JobEvent | EngineStatus, sink: Sink) -> None:
    """A subscriber's defect is its own: neither the job nor the other subscribers feel it."""
    try:
        sink(event)
    except Exception:
        log.exception("a subscriber failed on %s", type(event).__name__)


def _outcome(event: Finished | Failed | Cancelled, notes: list[str]) -> tuple[JobState, str, tuple[str, ...]]:
    if isinstance(event, Finished):
        return "done", "", (*event.notes, *(note for note in notes if note not in event.notes))
    if isinstance(event, Failed):
        return "failed", event.reason, tuple(notes)
    return "cancelled", "", tuple(notes)


def _defect(job: Job, error: Exception) -> Failed:
    reason = f"An unexpected error ended the job ({type(error).__name__}: {error}). The log has the details."
    return Failed(job_id=job.id, attempt=job.attempt, reason=reason, kind=type(error).__name__)


def _waiting_text(job: Job) -> str:
    return "The engine stopped while it worked on this; trying once more." if job.crashes else ""


def _clear_staging(staging: Path, pattern: str) -> None:
    """Delete staged files that no attempt will commit any more."""
    if not staging.is_dir():
        return
    for path in staging.glob(pattern):
        if path.is_file() and not path.name.startswith(KEPT):
            with contextlib.suppress(OSError):
                path.unlink()
