"""What happens to an accepted run: its script is played, its requests become jobs, and what it made of their pictures is saved.

One thread plays; it wakes when one of the runs' jobs is over or somebody wants something. It draws nothing itself: a run's jobs stand in
the queue like all others, never more than a few of them, so that other people's come in between and a pause is soon one. After a restart
each run is played again with the results that are there, and only what is missing is asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from modules.domain.catalog import CatalogSource
from modules.domain.errors import InvalidRequest, QueueFull, StorageError
from modules.domain.events import TERMINAL, EngineStatus, JobEvent
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.domain.results import SavedImage
from modules.domain.styles import Style
from modules.domain.viewers import Owners
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.imaging.files import open_image
from modules.jobs.queue import JobQueue
from modules.runs.conductor import Conductor, script_of
from modules.runs.player import player_of
from modules.runs.run import Run, RunChanged, RunProgress
from modules.runs.store import RunStore
from modules.scripts.script import Environment, Script
from modules.scripts.values import checked_values

log = logging.getLogger(__name__)

MAX_JOBS = 4096
MAX_UNSAVED = 150
"""Pictures that are not saved are kept for a while only: a run must not be longer than that."""

_RETRY_SECONDS = 1.0
_GOODBYE_SECONDS = 15.0

Sink = Callable[[RunChanged], None]


class Runs:
    """All runs. Every method may be called from any thread."""

    def __init__(
        self,
        store: RunStore,
        queue: JobQueue,
        gallery: Gallery,
        inputs: InputStore,
        catalog: CatalogSource,
        styles: Callable[[], tuple[Style, ...]],
        staging: Path,
        wildcards: Callable[[str], Sequence[str]],
    ) -> None:
        self._store, self._queue, self._gallery, self._inputs = store, queue, gallery, inputs
        self._catalog, self._styles, self._wildcards = catalog, styles, wildcards
        self._conductor = Conductor(store, queue, gallery, self._environment, staging, self._told)
        self._wake = threading.Condition(threading.RLock())
        self._stirred: set[str] = set()
        self._sinks: dict[object, Sink] = {}
        self._closing = False
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        gallery.spare(store.active_jobs)  # a script opens its pictures when all are there

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the runs' own file."""
        return self._store.problems

    def start(self) -> None:
        """Go on with every run that is not over; returns at once."""
        self._unsubscribe = self._queue.subscribe(self._hear)
        self._stir(*(run.id for run in self._store.active()))
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the runs go on at the next start."""
        self._unsubscribe()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)
        self._store.close()

    def submit(
        self, script: str, tab: str, request: GenerationRequest, values: Mapping[str, Any], *, owner: str = "", source: str = "ui"
    ) -> Run:
        """Accept a run with the settings of this moment; it is on the disk when this returns.

        Every request of its first step is checked before. Raises `InvalidRequest`, `ModelNotFound` and `StorageError`.
        """
        known = script_of(script, tab)
        frozen, settings = self._queue.frozen(request)
        # The settings have the request's own laid over already; laid over once more they would undo what the script sets.
        if not isinstance(frozen, GenerationRequest):
            raise InvalidRequest(f"{known.name} needs a request for new pictures.")
        base = replace(frozen, overrides=())
        run = self._store.new(known.name, tab, base, settings, checked_values(known, values), owner=owner, source=source)
        self._check(run, known)
        stored = self._store.add(run)
        self._told(stored)
        self._stir(stored.id)
        return stored

    def go_on(self, run_id: str, values: Mapping[str, Any] | None = None) -> Run:
        """Resume a paused run, or let one that is over go on: with other `values`, and what failed or was stopped is tried again.

        What it has drawn already is not drawn again. Raises `InvalidRequest`.
        """
        run = self._known(run_id)
        if values is None and self._store.move(run_id, ("paused",), "running"):
            return self._changed(run_id)
        script = script_of(run.script, run.tab)
        given = checked_values(script, values) if values is not None else run.values
        if run.active:
            raise InvalidRequest("This run is not over yet: pause or cancel it first, or wait for its end.")
        self._check(replace(run, values=given), script)
        jobs = self._store.jobs(run_id).values()
        unfit = [job_id for job_id in jobs if not self._is_whole(job_id)]
        if values is None and run.state == "done" and not unfit:
            raise InvalidRequest("Nothing is missing in this run.")
        if not self._store.begin_again(run_id, given, unfit):
            raise InvalidRequest("This run goes on already.")
        return self._changed(run_id)

    def _is_whole(self, job_id: str) -> bool:
        """Whether a job was drawn to its end, as far as that is still known, and its pictures are there."""
        job = self._queue.get(job_id)
        return (job is None or job.state == "done") and bool(self._gallery.saved_indices(job_id))

    def pause(self, run_id: str) -> Run:
        """Queue no more of its jobs; what is in the queue is drawn. One that does not run stays as it is."""
        self._store.move(run_id, ("running",), "paused")
        return self._changed(run_id)

    def cancel(self, run_id: str) -> Run:
        """End the run and the job that it waits for; a sheet is made of what there is."""
        self._store.move(run_id, ("running", "paused"), "cancelling")
        return self._changed(run_id)

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> bool:
        """What Interrupt means: end the job, and the run or the batch of files that it belongs to. False when the job is over already.

        `after_batch`: what is being drawn is finished first, unless it belongs to a run, which can go on later.
        """
        run = self.get(self.run_of(job_id))
        if run is not None and run.active:
            self.cancel(run.id)
        job = self._queue.get(job_id)
        if job is not None and job.click:
            for other in self._queue.list((job.owner,), limit=-1, active_only=True):
                if other.click == job.click and other.id != job_id:
                    self._queue.interrupt(other.id)  # before the job itself, so that none of them begins
        return self._queue.interrupt(job_id, after_batch=after_batch)

    def has_more(self, job: Job) -> bool:
        """Whether a job is being drawn and more pictures of the same click, but no run, would follow the batch that it is at."""
        if job.state != "running" or self.run_of(job.id):
            return False
        if isinstance(job.request, GenerationRequest) and max(1, self._queue.progress(job.id).batch) < job.request.batch_count:
            return True
        waiting = self._queue.list((job.owner,), limit=-1, active_only=True) if job.click else []
        return any(other.click == job.click and other.id != job.id for other in waiting)

    def get(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        return self._store.get(run_id) if run_id else None

    def run_of(self, job_id: str) -> str:
        """The id of the run that a job belongs to, else ""."""
        return self._conductor.run_of(job_id) or self._store.run_of(job_id)

    def list(self, owners: Owners, limit: int = 8) -> list[Run]:
        """The owners' active runs and the latest others, the first accepted first."""
        found = {run.id: run for run in (*self._store.active(owners), *self._store.latest(owners, limit))}
        return sorted(found.values(), key=lambda run: run.seq)

    def is_busy(self, owners: Owners) -> bool:
        """Whether a run of the owners' is going on by itself."""
        return any(run.state != "paused" for run in self._store.active(owners))

    def jobs(self, run_id: str) -> list[str]:
        """The ids of its jobs, in the order in which they were queued."""
        return list(self._store.jobs(run_id).values())

    def images(self, run: Run) -> list[SavedImage]:
        """What is to be seen of a run: what its script made, the last round's first, then the single pictures that it wants shown."""
        own = self._gallery.for_job(run.id)
        if run.shown is not None:
            return [*own, *(image for image in map(self._gallery.get, run.shown) if image is not None)]
        return [*own, *(image for job_id in self.jobs(run.id) for image in self._gallery.for_job(job_id) if image.kind == "image")]

    def progress(self, run: Run) -> RunProgress:
        """How far a run is."""
        return self._conductor.progress(run)

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Call `sink` with every change of a run; it must be quick. Returns the way out."""
        token = object()
        with self._wake:
            self._sinks[token] = sink

        def unsubscribe() -> None:
            with self._wake:
                self._sinks.pop(token, None)

        return unsubscribe

    def _known(self, run_id: str) -> Run:
        run = self.get(run_id)
        if run is None:
            raise InvalidRequest("There is no such run.")
        return run

    def _check(self, run: Run, script: Script) -> None:
        """Play the run to its first step and see whether the queue would take all that it asks. Raises what is wrong."""
        player = player_of(run, script, self._environment(run), {})
        player.steps.close()
        if len(player.slots) > MAX_JOBS:
            raise InvalidRequest(f"{run.script} would draw {len(player.slots)} pictures; {MAX_JOBS} are the most. Use fewer values.")
        if len(player.slots) > MAX_UNSAVED and not run.settings.saving.save_images:
            raise InvalidRequest(f"{len(player.slots)} pictures at once are only drawn where pictures are saved: switch that on.")
        for slot in player.slots:
            self._queue.frozen(slot.request, run.settings)

    def _environment(self, run: Run) -> Environment:
        return Environment(
            catalog=self._catalog.snapshot(),
            entropy=run.entropy,
            open=lambda image: open_image(self._gallery.path(image.id)),
            open_input=self._inputs.open,
            keep=lambda picture: self._inputs.put_picture(_plain(picture)).id,
            styles=self._styles(),
            wildcards=self._wildcards,
        )

    def _hear(self, event: JobEvent | EngineStatus) -> None:
        """The queue's subscriber, in the queue's thread."""
        if isinstance(event, TERMINAL):
            self._stir(self._conductor.run_of(event.job_id))

    def _stir(self, *run_ids: str) -> None:
        with self._wake:
            self._stirred |= set(filter(None, run_ids))
            self._wake.notify_all()

    def _changed(self, run_id: str) -> Run:
        run = self._known(run_id)
        self._told(run)
        self._stir(run_id)
        return run

    def _told(self, run: Run) -> None:
        with self._wake:
            sinks = tuple(self._sinks.values())
        for sink in sinks:
            _deliver(run, sink)

    def _work(self) -> None:
        """The thread."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._stirred)
                if self._closing:
                    return
                run_id = self._stirred.pop()
            try:
                self._conductor.advance(run_id)
            except (StorageError, QueueFull) as error:
                log.warning("run %s waits: %s", run_id, error)
                later = threading.Timer(_RETRY_SECONDS, self._stir, (run_id,))
                later.daemon = True
                later.start()


def _plain(picture: Image.Image) -> Image.Image:
    return picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")


def _deliver(run: Run, sink: Sink) -> None:
    """A subscriber's defect is its own."""
    try:
        sink(RunChanged(run=run))
    except Exception:
        log.exception("a subscriber failed on a change of run %s", run.id)
