"""How does a run go on? Its script is played as far as its jobs are over, what it asks for is queued, what it made is saved.

Works in whatever thread calls it, one at a time; `runs` decides when.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from modules.domain.errors import InvalidRequest, QueueFull, StorageError, UserError
from modules.domain.jobs import Job
from modules.domain.results import step_of
from modules.gallery.gallery import Gallery
from modules.jobs.queue import JobQueue
from modules.runs.composites import save_composite
from modules.runs.player import Player, Slot, player_of
from modules.runs.run import Run, RunProgress, RunState
from modules.runs.store import RunStore
from modules.scripts.registry import find_script
from modules.scripts.script import Environment, Outcome, Result, Script

log = logging.getLogger(__name__)

AHEAD = 2
"""How many jobs of a run are in the queue at a time: the one that is drawn and the next, so that the engine never waits for us."""


class Conductor:
    """The runs that are being played. `tell` hears of every change of one."""

    def __init__(
        self,
        store: RunStore,
        queue: JobQueue,
        gallery: Gallery,
        environment: Callable[[Run], Environment],
        staging: Path,
        tell: Callable[[Run], None],
    ) -> None:
        self._store, self._queue, self._gallery = store, queue, gallery
        self._environment, self._staging, self._tell = environment, staging, tell
        self._players: dict[str, Player] = {}
        self._run_of: dict[str, str] = {}

    def run_of(self, job_id: str) -> str:
        """The run that waits for this job, else ""."""
        return self._run_of.get(job_id, "")

    def progress(self, run: Run) -> RunProgress:
        """How far a run is."""
        player = self._players.get(run.id)
        if player is None:
            count = len(self._store.jobs(run.id))
            return RunProgress(done=0 if run.active else count, total=count)
        open_jobs = [slot.job_id for slot in player.slots if slot.job_id and slot.result is None]
        return RunProgress(done=player.done, total=player.total, job_id=open_jobs[0] if open_jobs else "", pace=player.pace)

    def advance(self, run_id: str) -> None:
        """Do for the run whatever can be done now, or end it with what is wrong. Raises `StorageError` and `QueueFull`: both pass."""
        try:
            self._go_on(run_id)
        except (StorageError, QueueFull):
            raise
        except UserError as error:
            self._end(run_id, "failed", error=str(error))
        except Exception as error:
            log.exception("run %s failed by a defect of this program", run_id)
            self._end(run_id, "failed", error=f"An unexpected error ended it ({type(error).__name__}: {error}). The log has the details.")

    def _go_on(self, run_id: str) -> None:
        run = self._store.get(run_id)
        if run is None or not run.active:
            self._players.pop(run_id, None)
            return
        player = self._players.get(run_id)
        if player is None:
            player = player_of(run, script_of(run.script, run.tab), self._environment(run), self._store.jobs(run_id))
            self._players[run_id] = player
        while player.outcome is None:
            self._serve(run, player)
            if player.waits:
                self._tell(run)
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
                if slot.result is not None:
                    self._take_time(player, slot.job_id)
        for slot in player.slots:
            if run.state == "cancelling" and slot.result is None:
                self._give_up(slot)
            elif run.state == "running" and under_way < AHEAD and slot.result is None and not slot.job_id:
                self._queue_up(run, slot)
                slot.result = self._result(slot) if slot.result is None else slot.result
                under_way += slot.result is None

    def _take_time(self, player: Player, job_id: str) -> None:
        """Note how long a job took that was drawn to its end."""
        job = self._queue.get(job_id)
        if job is not None and job.state == "done" and job.started and job.finished:
            player.lasted.append(job.finished - job.started)

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
        return Result(request=slot.request, state=state, pictures=pictures, error=error, frames=frames, notes=job.notes if job else ())

    def _give_up(self, slot: Slot) -> None:
        if slot.job_id and self._queue.interrupt(slot.job_id):
            slot.result = self._result(slot)
        elif not slot.job_id:
            slot.result = Result(request=slot.request, state="cancelled")

    def _settle(self, run: Run, player: Player, outcome: Outcome) -> None:
        """Save what the script made, and end the run."""
        for number, made in enumerate(outcome.composites):
            save_composite(self._gallery, self._staging, run, number, made)
        given_up = ("done", "cancelled") if run.state == "cancelling" else ("done",)
        failed = [result for result in player.results if result.state not in given_up]
        # most jobs of a run say the same
        notes, error = [*outcome.notes, *dict.fromkeys(note for result in player.results for note in result.notes)], ""
        if failed and len(failed) == len(player.results):
            error = _why(failed)
        elif failed:
            notes.append(f"{len(failed)} of {len(player.results)} could not be drawn: {_why(failed)}")
        state: RunState = "cancelled" if run.state == "cancelling" else "failed" if error else "done"
        self._end(run.id, state, error=error, outcome=replace(outcome, notes=tuple(notes)))

    def _end(self, run_id: str, state: RunState, *, error: str = "", outcome: Outcome | None = None) -> None:
        self._store.finish(run_id, state, error=error, outcome=outcome)
        self._players.pop(run_id, None)
        run = self._store.get(run_id)
        if run is not None:
            self._tell(run)


def _why(failed: Sequence[Result]) -> str:
    """The reason of the first that has one; a job that was taken out of the queue has none."""
    return next((result.error for result in failed if result.error), "they were taken out of the queue.")


def script_of(name: str, tab: str) -> Script:
    """The script with this name on the tab. Raises `InvalidRequest`."""
    found = find_script(name, tab)
    if found is None:
        raise InvalidRequest(f"There is no script {name[:60]!r} for {tab}.")
    return found
