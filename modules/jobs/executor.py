"""Where a job is run: in this process (tests, tools) or in a child process that may die without taking the page with it.

Knows how to start, talk to, end and replace an engine; it knows neither the queue nor what an engine does.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from modules.domain.errors import EngineDied, UserError
from modules.domain.events import TERMINAL, EngineStatus, JobEvent
from modules.jobs.outbox import Outbox
from modules.jobs.protocol import DEVICE_FAULT_EXIT_CODE, RunJob, Runner
from modules.jobs.worker import CannotBuild, Controls, Interrupt, Quit, Skip, Unload, run_to_end, worker_main

log = logging.getLogger(__name__)

_LOADING = EngineStatus(state="starting", text="Loading torch…")
_STABLE_SECONDS = 60.0
_LONGEST_PAUSE = 30.0


class InProcessExecutor:
    """Runs jobs in the caller's thread with a runner of this process. What kills the runner kills the program."""

    def __init__(self, runner_factory: Callable[[], Runner]) -> None:
        self._factory = runner_factory
        self._controls = Controls()
        self._built = threading.Event()
        self._runner: Runner | None = None
        self._failure = ""
        self._busy = threading.Lock()
        self._unload_wanted = False
        self._current = ""
        self._closing = False
        self._on_status: Callable[[EngineStatus], None] = lambda status: None

    def start(self, on_status: Callable[[EngineStatus], None]) -> None:
        """Build the runner in a thread."""
        self._on_status = on_status
        on_status(_LOADING)
        threading.Thread(target=self._build, name="engine-build", daemon=True).start()

    def run(self, job: RunJob, emit: Callable[[JobEvent], None]) -> None:
        """Run to the terminal event. Raises `EngineDied` when there is no runner."""
        self._built.wait()
        runner = self._runner
        if runner is None or self._closing:
            raise EngineDied(self._failure or "The engine was stopped.")
        with self._busy:
            self._current = job.job_id
            self._on_status(replace(runner.status(), state="busy"))
            run_to_end(runner, job, emit, self._controls.for_job(job.job_id))
            self._current = ""
        self._unload_if_wanted(runner)
        self._on_status(runner.status())

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> None:
        """Tell the job to end."""
        self._controls.interrupt(job_id, after_batch=after_batch)

    def skip(self, job_id: str) -> None:
        """Tell the job to leave its batch."""
        self._controls.skip(job_id)

    def unload(self) -> None:
        """Give the memory back, now or after the running job."""
        self._unload_wanted = True
        if self._runner is not None:
            self._unload_if_wanted(self._runner)

    def close(self) -> None:
        """Interrupt what runs and wait for it."""
        self._closing = True
        self._built.set()
        if self._current:
            self._controls.interrupt(self._current)
        with self._busy:
            self._runner = None

    def _build(self) -> None:
        try:
            self._runner = self._factory()
            self._on_status(self._runner.status())
        except Exception as error:
            log.exception("the engine could not be built")
            self._failure = _cannot_start(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        self._built.set()

    def _unload_if_wanted(self, runner: Runner) -> None:
        if self._unload_wanted and self._busy.acquire(blocking=False):
            try:
                self._unload_wanted = False
                runner.unload()
            finally:
                self._busy.release()
            self._on_status(runner.status())


@dataclass(frozen=True, slots=True)
class _Death:
    """The last message of a child: why it is gone."""

    reason: str


@dataclass(slots=True)
class _Child:
    process: Any
    connection: Connection
    outbox: Outbox
    born: float
    messages: queue.SimpleQueue[JobEvent | _Death] = field(default_factory=lambda: queue.SimpleQueue())
    failure: str = ""
    ready: bool = False


class ChildProcessExecutor:
    """Runs jobs in a child process and replaces it when it dies.

    `factory` names the function ("package.module:function") that makes the runner from the picklable `config`, in the child. An interrupt
    that is pressed again after `patience` seconds without effect ends the child: it hangs.
    """

    def __init__(self, factory: str, config: Any, *, patience: float = 20.0) -> None:
        self._factory, self._config, self._patience = factory, config, patience
        self._context = multiprocessing.get_context("spawn")
        self._changed = threading.Condition()
        self._child: _Child | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = False
        self._deaths = 0
        self._last_death = ""
        self._wish: tuple[Interrupt, float] = (Interrupt(""), 0.0)  # the last one, and since when
        self._known = EngineStatus(state="ready")
        self._on_status: Callable[[EngineStatus], None] = lambda status: None

    @property
    def pid(self) -> int | None:
        """The child's process id, for tools that watch its memory; None between two children."""
        child = self._child
        return None if child is None else child.process.pid

    def start(self, on_status: Callable[[EngineStatus], None]) -> None:
        """Start the first child; returns at once."""
        self._on_status = on_status
        on_status(_LOADING)
        self._thread = threading.Thread(target=self._keep_alive, name="engine-keeper", daemon=True)
        self._thread.start()

    def run(self, job: RunJob, emit: Callable[[JobEvent], None]) -> None:
        """Run to the terminal event, calling `emit` in this thread.

        Raises `EngineDied` when the child ends first, and when the job is interrupted while there is none.
        """
        child = self._living_child(job.job_id)
        self._busy = True
        try:
            if child.ready:
                self._on_status(replace(self._known, state="busy"))
            if self._wish[0].job_id == job.job_id:
                # said to the child before this one, or to none
                child.outbox.put(self._wish[0])
            child.outbox.put(job)
            while True:
                message = child.messages.get()
                if isinstance(message, _Death):
                    raise EngineDied(message.reason)
                emit(message)
                if isinstance(message, TERMINAL) and (message.job_id, message.attempt) == (job.job_id, job.attempt):
                    self._deaths = 0
                    break
        finally:
            self._busy = False
        self._on_status(self._known)

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> None:
        """Tell the job to end; when it was told long ago to do so at once and still runs, end the child."""
        now, wish = time.monotonic(), Interrupt(job_id, after_batch)
        with self._changed:
            child = self._child
            last, since = self._wish
            if last not in (wish, Interrupt(job_id)):
                self._wish = (wish, now)
                self._changed.notify_all()
        if last == wish == Interrupt(job_id) and child is not None and now - since >= self._patience:
            log.warning("the engine does not react to Interrupt; it is ended and started again")
            child.process.kill()
        self._tell(wish)

    def skip(self, job_id: str) -> None:
        """Tell the job to leave its batch."""
        self._tell(Skip(job_id))

    def unload(self) -> None:
        """Give the device memory back, after the running job."""
        self._tell(Unload())

    def close(self) -> None:
        """End the child: ask, then insist. Returns within seconds, also when the child is stopped or hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            child = self._child
        self._tell(Quit())
        thread = self._thread
        if thread is None:
            return
        thread.join(2.0)
        if thread.is_alive() and child is not None:
            child.process.terminate()
            thread.join(1.0)
        if thread.is_alive() and child is not None:
            child.process.kill()
            thread.join(5.0)

    def _tell(self, message: Any) -> None:
        child = self._child
        if child is not None:
            child.outbox.put(message)

    def _living_child(self, job_id: str) -> _Child:
        """The child that a job can be given to, waited for between two children; an interrupt meanwhile has nobody else to end the job."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._child is not None or self._wish[0].job_id == job_id)
            if self._closing or self._child is None:
                raise EngineDied("The engine was stopped." if self._closing else "The engine is being started.")
            return self._child

    def _keep_alive(self) -> None:
        """The keeper's thread: start a child, listen until it is gone, and again."""
        while not self._closing:
            try:
                child = self._spawn()
            except OSError as error:
                self._deaths += 1
                self._last_death = _cannot_start(str(error))
            else:
                self._listen(child)
                self._bury(child)
            if self._closing:
                return
            log.warning("%s", self._last_death)
            self._on_status(EngineStatus(state="restarting", text=self._last_death, device=self._known.device))
            self._pause()

    def _spawn(self) -> _Child:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker_main, args=(theirs, self._factory, self._config), name="engine", daemon=True)
        try:
            with _interrupt_blocked():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child = _Child(process, ours, Outbox(ours, "engine-commands"), time.monotonic())
        with self._changed:
            self._child = child
            self._changed.notify_all()
        if self._closing:
            child.outbox.put(Quit())
        return child

    def _listen(self, child: _Child) -> None:
        """Take messages until the child is gone and everything that it had sent is read."""
        while child.connection in wait([child.connection, child.process.sentinel]):
            try:
                message: Any = child.connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(message, EngineStatus):
                child.ready, self._known = True, message
                self._on_status(replace(message, state="busy") if self._busy else message)
            elif isinstance(message, CannotBuild):
                child.failure = message.reason
            else:
                child.messages.put(message)

    def _bury(self, child: _Child) -> None:
        child.process.join(3.0)
        if child.process.exitcode is None:
            child.process.kill()
            child.process.join()
        reason = _cannot_start(child.failure) if child.failure else _how_it_ended(child.process.exitcode)
        with self._changed:
            self._child = None
        child.outbox.close()
        child.connection.close()
        self._deaths = 1 if time.monotonic() - child.born > _STABLE_SECONDS else self._deaths + 1
        self._last_death = reason
        child.messages.put(_Death(reason))

    def _pause(self) -> None:
        """The first restarts come at once; an engine that keeps dying without ending a job is started ever more seldom."""
        seconds = 0.0 if self._deaths <= 2 else min(_LONGEST_PAUSE, 0.5 * 2.0 ** (self._deaths - 3))
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)


@contextlib.contextmanager
def _interrupt_blocked() -> Generator[None, None, None]:
    """Start a child with SIGINT blocked, so that Ctrl+C in its first moments does not reach it before it ignores the signal itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cannot_start(reason: str) -> str:
    return f"The engine could not start: {reason}"


def _how_it_ended(code: int | None) -> str:
    """A sentence about an exit code; negative ones are signals."""
    if code == DEVICE_FAULT_EXIT_CODE:
        return (
            "The graphics device failed, and the engine process with it. If that happens again, restart the machine or update its driver."
        )
    if code is None or code >= 0:
        return f"The engine process ended by itself (exit code {code})."
    if -code == 9:
        advice = "try a smaller picture or batch, or start with --medvram"
        return f"The engine process was killed (signal 9), usually because memory ran out: {advice}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    return f"The engine process crashed (signal {-code}, {name})."
