"""The engine's end of the seam: one job run to its end, everything said through events, exactly one of them terminal.

Interrupt and Skip act at the next sampling step. Pictures of finished batches are kept; a batch that is stopped half-way is dropped,
since a half-denoised picture is not what was asked for, unless the settings want those too: then it is decoded as it is.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import torch

from modules.domain.errors import OutOfMemory, UserError
from modules.domain.events import Cancelled, EngineStatus, Failed, Finished, JobEvent, Stage, Started, StepDone
from modules.domain.extras import ExtrasRequest
from modules.domain.merging import MergeRequest
from modules.domain.plans import ImagePlan
from modules.domain.requests import GenerationRequest
from modules.domain.training import TrainRequest
from modules.engine.engine import Engine, Stop
from modules.engine.extras import run_extras
from modules.engine.file_hashes import FileHashes
from modules.engine.merge import run_merge
from modules.engine.output import PictureWriter
from modules.engine.resolve import PreviewOptions, output_options, preview_options, resolve
from modules.engine.training import run_training
from modules.jobs.protocol import DEVICE_FAULT_EXIT_CODE, Control, RunJob
from modules.settings.paths import Paths
from modules.settings.schema import Settings
from modules.weights.hashes import HashCache
from modules.weights.load import forget_frames, is_out_of_memory
from modules.weights.placement import release_memory

log = logging.getLogger(__name__)

Say = Callable[[JobEvent], None]


class _Interrupted(Stop):
    """The user ended the job."""


class _Skipped(Stop):
    """The user left the batch."""


class EngineRunner:
    """`jobs.protocol.Runner` over an `Engine`. One job at a time. `paths` says where new models are written."""

    def __init__(self, engine: Engine, hashes: HashCache, version: str, paths: Paths) -> None:
        self._engine = engine
        self._paths = paths
        self._digests = hashes
        self._hashes = FileHashes(hashes)
        self._version = version

    def status(self) -> EngineStatus:
        return EngineStatus(state="ready", device=self._engine.models.placement.describe())

    def unload(self) -> None:
        self._engine.unload()

    def run(self, job: RunJob, emit: Callable[[JobEvent], None], control: Control) -> None:
        """Run to exactly one terminal event. Raises only what is a defect of ours; a broken CUDA device ends the process."""
        say = _in_order(emit)
        try:
            say(self._run(job, say, control))
        except UserError as error:
            forget_frames(error)
            release_memory()
            say(_failed(job, error))
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                log.warning("Out of memory in job %s: %s", job.job_id, error)
                forget_frames(error)
                release_memory()
                say(_failed(job, OutOfMemory(_out_of_memory_text(job))))
            elif isinstance(error, torch.AcceleratorError):
                log.critical("The device failed, so this process is of no use any more", exc_info=True)
                logging.shutdown()
                os._exit(DEVICE_FAULT_EXIT_CODE)
            else:
                raise

    def _run(self, job: RunJob, say: Say, control: Control) -> JobEvent:
        """All of the job but its last event, which is returned."""
        if isinstance(job.request, ExtrasRequest):
            return run_extras(job, job.request, self._engine, say, control)
        if isinstance(job.request, TrainRequest):
            return run_training(job, job.request, self._engine, self._paths, self._hashes, self._version, say, control)
        if isinstance(job.request, MergeRequest):
            return run_merge(job, job.request, self._paths.checkpoints[0], self._digests, say, control)
        return self._draw(job, job.request, say, control)

    def _draw(self, job: RunJob, request: GenerationRequest, say: Say, control: Control) -> JobEvent:
        """All of a job that draws pictures but its last event, which is returned."""
        started = time.monotonic()
        settings = cast("Settings", job.settings)
        plans = resolve(request, settings, job.catalog, random.Random(job.entropy), Path(job.inputs))
        say(Started(job_id=job.job_id, attempt=job.attempt, image_count=request.image_count))
        self._engine.models.keep(settings.models.kept)
        output = output_options(settings)
        writer = PictureWriter(job, output, say, self._hashes, self._version)
        notes: dict[str, None] = {}  # in the order in which they came up, each once
        left = [(number, plan) for number, plan in enumerate(plans, start=1) if not _is_done(plan, job)]
        to_the_end = False
        try:
            with suppress(_Interrupted):
                for number, plan in left:
                    if control.ending():
                        break
                    watcher = _JobWatcher(job, plan, say, control, number, len(plans), rescue=output.unfinished)
                    notes.update(dict.fromkeys(self._batch(plan, preview_options(settings), watcher, writer)))
                else:
                    to_the_end = True
            writer.put_grid(plans[0], complete=len(left) == len(plans))
            writer.finish()
        finally:
            writer.close()
        seconds = time.monotonic() - started
        if not to_the_end:
            return Cancelled(job_id=job.job_id, attempt=job.attempt, seconds=seconds)
        notes.update(dict.fromkeys(writer.notes))
        return Finished(job_id=job.job_id, attempt=job.attempt, seconds=seconds, notes=tuple(notes))

    def _batch(self, plan: ImagePlan, previews: PreviewOptions, watcher: _JobWatcher, writer: PictureWriter) -> tuple[str, ...]:
        """Draw one batch and put its pictures to the writer; what the user should know of it. Raises `_Interrupted`."""
        self._hashes.prepare(plan.model)
        try:
            watcher.check()
            pictures = self._engine.run(plan, previews, watcher)
        except Stop as stop:
            for position, picture in enumerate(stop.rescued):
                writer.put_unfinished(self._engine.as_drawn(plan), position, picture, watcher.last_step)
            if isinstance(stop, _Skipped):
                return ()
            raise
        drawn = self._engine.as_drawn(plan)
        for position, picture in enumerate(pictures):
            writer.put(drawn, position, picture)
        return (*plan.notes, *self._engine.notes(plan))


class _JobWatcher:
    """An `engine.Watcher` that turns what it sees into a job's events, and the user's wishes into exceptions."""

    def __init__(self, job: RunJob, plan: ImagePlan, say: Say, control: Control, batch: int, batches: int, *, rescue: bool) -> None:
        self._job = job
        self._plan = plan
        self._say = say
        self._control = control
        self._batch = batch
        self._batches = batches
        self._rescue = rescue
        self.last_step = 0

    def check(self) -> None:
        if self._control.interrupted():
            raise _Interrupted(rescue=self._rescue)
        if self._control.skipped():
            raise _Skipped(rescue=self._rescue)

    def stage(self, text: str) -> None:
        self._say(Stage(job_id=self._job.job_id, attempt=self._job.attempt, text=text))
        self.check()

    def step(self, step: int, preview: bytes | None) -> None:
        self.last_step = step
        self._say(
            StepDone(
                job_id=self._job.job_id,
                attempt=self._job.attempt,
                step=step,
                steps=self._plan.all_steps,
                batch=self._batch,
                batches=self._batches,
                preview=preview,
            )
        )
        self.check()


def _in_order(emit: Say) -> Say:
    """`emit` for two threads: the one that draws and the one that writes."""
    lock = threading.Lock()

    def say(event: JobEvent) -> None:
        with lock:
            emit(event)

    return say


def _is_done(plan: ImagePlan, job: RunJob) -> bool:
    return all(plan.index + position in job.done for position in range(plan.batch_size))


def _failed(job: RunJob, error: UserError) -> Failed:
    return Failed(job_id=job.job_id, attempt=job.attempt, reason=str(error), kind=type(error).__name__)


def _out_of_memory_text(job: RunJob) -> str:
    request = job.request
    if isinstance(request, TrainRequest):
        return (
            "There was not enough memory to train. Choose a smaller size, batch size or rank, and close other programs that use the device."
        )
    if isinstance(request, ExtrasRequest):
        return "There was not enough memory to enlarge the picture to that size. Choose a smaller one."
    if isinstance(request, MergeRequest):
        return "There was not enough memory to merge the models. Close other programs, then try again."
    init, inpaint = request.init, request.inpaint
    is_asked = (init is None or init.resize_by is None) and (inpaint is None or inpaint.outpaint is None)
    size = f"{request.width}x{request.height}" if is_asked else "that size"
    return (
        f"There was not enough memory for {request.batch_size} picture(s) of {size}. "
        "Try a smaller size or batch size; --medvram needs less."
    )
