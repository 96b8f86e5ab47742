"""The engine's end of the seam: what runs in the child process around a runner, and the rules that hold for a runner anywhere.

It imports nothing heavy itself: the runner's module is named by a string and imported here, in the child.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from modules.domain.errors import UserError
from modules.domain.events import TERMINAL, Failed, JobEvent
from modules.jobs.outbox import Outbox
from modules.jobs.protocol import Control, RunJob, Runner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Parent to child: end this job, now or with the batch that is being drawn."""

    job_id: str
    after_batch: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Parent to child: leave the current batch of this job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Parent to child: give the device memory back when no job runs."""


@dataclass(frozen=True, slots=True)
class Quit:
    """Parent to child: end now."""


@dataclass(frozen=True, slots=True)
class CannotBuild:
    """Child to parent: there will be no runner, and why. The child ends after it."""

    reason: str


class Controls:
    """What the user wants of which job: told from one thread, asked from another. Wishes for a job that is not there are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupted: dict[str, bool] = {}  # by job: whether the batch that is being drawn may be finished
        self._skips: dict[str, int] = {}

    def interrupt(self, job_id: str, *, after_batch: bool = False) -> None:
        """The user wants this job to end, now or after its batch; "now" is not taken back."""
        with self._lock:
            self._interrupted[job_id] = after_batch and self._interrupted.get(job_id, True)

    def skip(self, job_id: str) -> None:
        """The user wants this job to leave its batch, once more."""
        with self._lock:
            self._skips[job_id] = self._skips.get(job_id, 0) + 1

    def for_job(self, job_id: str) -> Control:
        """The control of a job that begins; what was said of other jobs before is dropped."""
        with self._lock:
            self._interrupted = {key: late for key, late in self._interrupted.items() if key == job_id}
            self._skips = {key: count for key, count in self._skips.items() if key == job_id}
        return _JobControl(self, job_id)

    def is_interrupted(self, job_id: str) -> bool:
        """Whether the job is to end now."""
        with self._lock:
            return self._interrupted.get(job_id) is False

    def is_ending(self, job_id: str) -> bool:
        """Whether the job is to end, now or after its batch."""
        with self._lock:
            return job_id in self._interrupted

    def take_skip(self, job_id: str) -> bool:
        """Whether the job is to leave its batch; answers one press of Skip."""
        with self._lock:
            count = self._skips.get(job_id, 0)
            if count:
                self._skips[job_id] = count - 1
            return count > 0


class _JobControl:
    def __init__(self, controls: Controls, job_id: str) -> None:
        self._controls, self._job_id = controls, job_id

    def interrupted(self) -> bool:
        return self._controls.is_interrupted(self._job_id)

    def ending(self) -> bool:
        return self._controls.is_ending(self._job_id)

    def skipped(self) -> bool:
        return self._controls.take_skip(self._job_id)


def run_to_end(runner: Runner, job: RunJob, emit: Callable[[JobEvent], None], control: Control) -> None:
    """Run a job so that exactly one terminal event comes out and nothing after it, whatever the runner does short of ending the process."""
    over = False

    def once(event: JobEvent) -> None:
        nonlocal over
        if not over:
            over = isinstance(event, TERMINAL)
            emit(event)

    def fail(reason: str, kind: str) -> None:
        once(Failed(job_id=job.job_id, attempt=job.attempt, reason=reason, kind=kind))

    try:
        runner.run(job, once, control)
    except UserError as error:
        log.info("job %s failed: %r", job.job_id, str(error))
        fail(str(error), type(error).__name__)
    except Exception as error:
        log.exception("job %s failed by a defect of this program", job.job_id)
        fail(f"An unexpected error ended the job ({type(error).__name__}: {error}). The log has the details.", type(error).__name__)
    fail("The engine ended the job without a result.", "RuntimeError")


def worker_main(connection: Connection, factory: str, config: Any) -> None:
    """The child process: build the runner that `factory` ("package.module:function") makes of `config`, then run jobs until told to quit.

    It ends at once when the parent is gone, so that no engine outlives its page; Ctrl+C in the terminal is the parent's to act on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    controls = Controls()
    inbox: queue.SimpleQueue[RunJob | Unload] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, controls, inbox), name="engine-commands", daemon=True).start()
    outbox = Outbox(connection, "engine-events")
    try:
        runner = load_factory(factory)(config)
    except Exception as error:
        log.exception("the engine could not be built")
        outbox.put(CannotBuild(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"))
        outbox.flush(5.0)
        end_process(1)
        return
    outbox.put(runner.status())
    while True:
        message = inbox.get()
        if isinstance(message, RunJob):
            run_to_end(runner, message, outbox.put, controls.for_job(message.job_id))
        else:
            _unload(runner)
        outbox.put(runner.status())


def load_factory(factory: str) -> Callable[[Any], Runner]:
    """The function named "package.module:function"."""
    module, _, name = factory.partition(":")
    return getattr(importlib.import_module(module), name)


def end_process(code: int) -> None:
    """End this process now, without waiting for threads or a device that hangs."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _unload(runner: Runner) -> None:
    try:
        runner.unload()
    except Exception:
        log.exception("unloading the model failed")


def _listen(connection: Connection, controls: Controls, inbox: queue.SimpleQueue[RunJob | Unload]) -> None:
    """Take the parent's messages as they come, also while a job runs."""
    while True:
        try:
            message: Any = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        if isinstance(message, Interrupt):
            controls.interrupt(message.job_id, after_batch=message.after_batch)
        elif isinstance(message, Skip):
            controls.skip(message.job_id)
        elif isinstance(message, Quit):
            end_process(0)
        elif isinstance(message, (RunJob, Unload)):
            inbox.put(message)
