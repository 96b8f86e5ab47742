"""What happens to an accepted run: its script is played, its requests become jobs, and what it made of their pictures is saved.

One thread plays; it wakes when one of the runs' jobs is over or somebody wants something. It draws nothing itself: a run's jobs stand in
the queue like all others, never more than a few of them, so that other people's come in between and a pause is soon one. After a restart
each run is played again with the results that are there, and only what is missing is asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from modules.domain.catalog import CatalogSource
from modules.domain.errors import InvalidRequest, QueueFull, StorageError, UserError
from modules.domain.events import TERMINAL, EngineStatus, JobEvent
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.domain.results import SavedImage, step_of
from modules.domain.styles import Style
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.imaging.files import open_image
from modules.jobs.queue import JobQueue
from modules.runs.composites import save_composite
from modules.runs.player import Player, Slot, player_of
from modules.runs.run import Run, RunChanged, RunProgress, RunState
from modules.runs.store import RunStore
from modules.scripts.registry import find_script
from modules.scripts.script import Environment, Outcome, Result, Script
from modules.scripts.values import checked_values

log = logging.getLogger(__name__)

AHEAD = 2
"""How many jobs of a run are in the queue at a time: the one that is drawn and the next, so that the engine never waits for us."""

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
    ) -> None:
        self._store, self._queue, self._gallery, self._inputs = store, queue, gallery, inputs
        self._catalog, self._styles, self._staging = catalog, styles, staging
        self._wake = threading.Condition(threading.RLock())
        self._stirred: set[str] = set()
        self._players: dict[str, Player] = {}
        self._run_of: dict[str, str] = {}
        self._sinks: dict[object, Sink] = {}
        self._closing = False
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

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
        known = _script(script, tab)
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
        script = _script(run.script, run.tab)
        given = checked_values(script, values) if values is not None else run.values
        if run.active:
            raise InvalidRequest("This run is not over yet: pause or cancel it first, or wait for its end.")
        self._check(replace(run, values=given), script)
        jobs = self._store.jobs(run_id).values()
        unfit = [job_id for job_id in jobs if not self._gallery.saved_indices(job_id)]
        if not self._store.begin_again(run_id, given, unfit):
            raise InvalidRequest("This run goes on already.")
        return self._changed(run_id)

    def pause(self, run_id: str) -> Run:
        """Queue no more of its jobs; what is in the queue is drawn. One that does not run stays as it is."""
        self._store.move(run_id, ("running",), "paused")
        return self._changed(run_id)

    def cancel(self, run_id: str) -> Run:
        """End the run and the job that it waits for; a sheet is made of what there is."""
        self._store.move(run_id, ("running", "paused"), "cancelling")
        return self._changed(run_id)

    def interrupt(self, job_id: str) -> bool:
        """What Interrupt means: end the job, and the run that it belongs to. False when the job is over already."""
        run = self.get(self.run_of(job_id))
        if run is not None and run.active:
            self.cancel(run.id)
        return self._queue.interrupt(job_id)

    def get(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        return self._store.get(run_id) if run_id else None

    def run_of(self, job_id: str) -> str:
        """The id of the run that a job belongs to, else ""."""
        return self._run_of.get(job_id) or self._store.run_of(job_id)

    def list(self, owner: str, limit: int = 8) -> list[Run]:
        """The owner's active runs and the latest others, the first accepted first."""
        found = {run.id: run for run in (*self._store.active(owner), *self._store.latest(owner, limit))}
        return sorted(found.values(), key=lambda run: run.seq)

    def is_busy(self, owner: str) -> bool:
        """Whether a run of the owner's is going on by itself."""
        return any(run.state != "paused" for run in self._store.active(owner))

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
        player = self._players.get(run.id)
        if player is None:
            count = len(self._store.jobs(run.id))
            return RunProgress(done=0 if run.active else count, total=count)
        open_jobs = [slot.job_id for slot in player.slots if slot.job_id and slot.result is None]
        return RunProgress(done=player.done, total=player.total, job_id=open_jobs[0] if open_jobs else "")

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
        )

    def _hear(self, event: JobEvent | EngineStatus) -> None:
        """The queue's subscriber, in the queue's thread."""
        if isinstance(event, TERMINAL):
            self._stir(self._run_of.get(event.job_id, ""))

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
                self._attempt(run_id)
            except (StorageError, QueueFull) as error:
                log.warning("run %s waits: %s", run_id, error)
                later = threading.Timer(_RETRY_SECONDS, self._stir, (run_id,))
                later.daemon = True
                later.start()

    def _attempt(self, run_id: str) -> None:
        """Advance the run, or end it with what is wrong. Raises `StorageError` and `QueueFull`: both pass."""
        try:
            self._advance(run_id)
        except (StorageError, QueueFull):
            raise
        except UserError as error:
            self._end(run_id, "failed", error=str(error))
        except Exception as error:
            log.exception("run %s failed by a defect of this program", run_id)
            self._end(run_id, "failed", error=f"An unexpected error ended it ({type(error).__name__}: {error}). The log has the details.")

    def _advance(self, run_id: str) -> None:
        """Do for the run whatever can be done now."""
        run = self.get(run_id)
        if run is None or not run.active:
            self._players.pop(run_id, None)
            return
        player = self._players.get(run_id)
        if player is None:
            player = player_of(run, _script(run.script, run.tab), self._environment(run), self._store.jobs(run_id))
            self._players[run_id] = player
        while player.outcome is None:
            self._serve(run, player)
            if player.waits:
                self._told(run)
                return
            player.go_on()
        self._settle(run, player, player.outcome)

    def _serve(self, run: Run, player: Player) -> None:
        """Take in what is over, and queue what may be queued."""
        under_way = 0
        for slot in player.slots:
            if slot.result is None and slot.job_id:
                slot.result = self._result(slot)
                under_way += slot.result is None
        for slot in player.slots:
            if run.state == "cancelling" and slot.result is None:
                self._give_up(slot)
            elif run.state == "running" and under_way < AHEAD and slot.result is None and not slot.job_id:
                self._queue_up(run, slot)
                slot.result = self._result(slot) if slot.result is None else slot.result
                under_way += slot.result is None

    def _queue_up(self, run: Run, slot: Slot) -> None:
        try:
            job = self._queue.submit(
                slot.request,
                source=run.source,
                owner=run.owner,
                # killed between the queue's row and ours, the next start finds the same job
                idempotency_key=f"run-{run.id}-{run.round}-{slot.key}-{slot.occurrence}",
                settings=run.settings,
            )
        except QueueFull:
            raise
        except UserError as error:
            slot.result = Result(request=slot.request, state="failed", error=str(error))
            return
        self._store.put_job(run.id, slot.key, slot.occurrence, job.id)
        slot.job_id = job.id

    def _result(self, slot: Slot) -> Result | None:
        """What became of the slot's job; None while it is not over. From here on its end is heard of."""
        if slot.job_id not in self._run_of:
            self._run_of[slot.job_id] = self._store.run_of(slot.job_id)
        job: Job | None = self._queue.get(slot.job_id)
        if job is not None and job.active:
            return None
        self._run_of.pop(slot.job_id, None)
        found = self._gallery.for_job(slot.job_id)
        pictures = tuple(image for image in found if image.kind == "image")
        frames = tuple(sorted((image for image in found if step_of(image.kind)), key=lambda image: image.kind))
        state, error = (job.state, job.error) if job else ("failed", "Its job is gone.")
        return Result(request=slot.request, state=state, pictures=pictures, error=error, frames=frames)

    def _give_up(self, slot: Slot) -> None:
        if slot.job_id and self._queue.interrupt(slot.job_id):
            slot.result = self._result(slot)
        elif not slot.job_id:
            slot.result = Result(request=slot.request, state="cancelled")

    def _settle(self, run: Run, player: Player, outcome: Outcome) -> None:
        """Save what the script made, and end the run."""
        for number, made in enumerate(outcome.composites):
            save_composite(self._gallery, self._staging, run, number, made)
        failed = [result for result in player.results if result.state not in ("done", "cancelled")]
        notes, error = list(outcome.notes), ""
        if failed and len(failed) == len(player.results):
            error = failed[0].error
        elif failed:
            notes.append(f"{len(failed)} of {len(player.results)} could not be drawn: {failed[0].error}")
        state: RunState = "cancelled" if run.state == "cancelling" else "failed" if error else "done"
        self._end(run.id, state, error=error, outcome=replace(outcome, notes=tuple(notes)))

    def _end(self, run_id: str, state: RunState, *, error: str = "", outcome: Outcome | None = None) -> None:
        self._store.finish(run_id, state, error=error, outcome=outcome)
        self._players.pop(run_id, None)
        run = self.get(run_id)
        if run is not None:
            self._told(run)


def _plain(picture: Image.Image) -> Image.Image:
    return picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")


def _deliver(run: Run, sink: Sink) -> None:
    """A subscriber's defect is its own."""
    try:
        sink(RunChanged(run=run))
    except Exception:
        log.exception("a subscriber failed on a change of run %s", run.id)


def _script(name: str, tab: str) -> Script:
    found = find_script(name, tab)
    if found is None:
        raise InvalidRequest(f"There is no script {name[:60]!r} for {tab}.")
    return found
