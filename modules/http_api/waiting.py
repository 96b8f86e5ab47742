"""How does a handler wait for its job without holding up anybody? It listens to the queue and sleeps on the event loop meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from modules.domain.errors import InvalidRequest
from modules.domain.events import TERMINAL, EngineStatus, Failed, JobEvent
from modules.domain.jobs import Job
from modules.jobs.queue import JobQueue
from modules.runs.run import Run, RunChanged
from modules.runs.runs import Runs


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job that is over. `kind` is the class name of the error that it failed with, where that was heard."""

    job: Job
    kind: str = ""


class Waiter:
    """Hears of every job that ends from its creation on. Lives on one event loop; use `waiter`."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._kinds: dict[str, str] = {}

    def hear(self, event: JobEvent | EngineStatus) -> None:
        """The queue's subscriber, in the queue's thread."""
        if isinstance(event, TERMINAL):
            self._kinds[event.job_id] = event.kind if isinstance(event, Failed) else ""
            self._loop.call_soon_threadsafe(self._over.set)

    async def outcome(self, job_id: str) -> Outcome:
        """Wait until the job is over. Raises `InvalidRequest` for an id that never was."""
        job = await self._job(job_id)
        if job.active:
            while job_id not in self._kinds:
                self._over.clear()
                await self._over.wait()
            job = await self._job(job_id)
        return Outcome(job, self._kinds.get(job_id, ""))

    async def _job(self, job_id: str) -> Job:
        job = await run_in_threadpool(self._queue.get, job_id)
        if job is None:
            raise InvalidRequest("There is no such job.")
        return job


class RunWaiter:
    """Hears of every change of a run from its creation on. Lives on one event loop; use `run_waiter`."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def hear(self, event: RunChanged) -> None:
        """The runs' subscriber, in any thread."""
        if not event.run.active:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def over(self, run_id: str) -> Run:
        """Wait until the run is over. Raises `InvalidRequest` for an id that never was."""
        while True:
            self._changed.clear()
            run = await run_in_threadpool(self._runs.get, run_id)
            if run is None:
                raise InvalidRequest("There is no such run.")
            if not run.active:
                return run
            await self._changed.wait()


@contextmanager
def waiter(queue: JobQueue) -> Generator[Waiter, None, None]:
    """A `Waiter` that listens while the block lasts: begin it before the job is submitted, so that no end is missed."""
    listening = Waiter(queue)
    unsubscribe = queue.subscribe(listening.hear)
    try:
        yield listening
    finally:
        unsubscribe()


@contextmanager
def run_waiter(runs: Runs) -> Generator[RunWaiter, None, None]:
    """A `RunWaiter` that listens while the block lasts: begin it before the run is submitted."""
    listening = RunWaiter(runs)
    unsubscribe = runs.subscribe(listening.hear)
    try:
        yield listening
    finally:
        unsubscribe()
