"""A runner that obeys the prompt: draw, slow, crash, crash-once, fault, raise, refuse, hang, silent, twice or flood.

It draws real picture files with PIL, so that everything behind it is tested with what an engine really hands over.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.domain.errors import OutOfMemory
from modules.domain.events import Cancelled, EngineStatus, Finished, ImageDone, JobEvent, Stage, Started, StepDone
from modules.domain.extras import ExtrasRequest
from modules.jobs.protocol import DEVICE_FAULT_EXIT_CODE, Control, RunJob


@dataclass(frozen=True)
class Script:
    step_seconds: float = 0.0
    build: str = ""
    """`fail` raises while building, `slow` takes a while."""


def _enlarged(job: RunJob, request: ExtrasRequest, emit: Callable[[JobEvent], None], control: Control) -> JobEvent:
    """The real thing: filters need no device and no time."""
    import torch

    from modules.engine.extras import run_extras
    from modules.engine.faces import FaceTools
    from modules.faces.networks import FaceNetworks
    from modules.upscalers.models import UpscalerModels
    from modules.weights.upscaler_files import read_upscaler

    where = (read_upscaler, torch.device("cpu"), torch.float32)
    return run_extras(job, request, SimpleNamespace(upscalers=UpscalerModels(*where), faces=FaceTools(FaceNetworks(*where))), emit, control)


class ScriptedRunner:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._unloads = 0

    def status(self) -> EngineStatus:
        return EngineStatus(state="ready", device="test", text=f"unloads: {self._unloads}")

    def unload(self) -> None:
        self._unloads += 1

    def run(self, job: RunJob, emit: Callable[[JobEvent], None], control: Control) -> None:
        if isinstance(job.request, ExtrasRequest):
            emit(_enlarged(job, job.request, emit, control))
            return
        verb = job.request.prompt
        emit(Started(job_id=job.job_id, attempt=job.attempt, image_count=job.request.image_count))
        if verb == "raise":
            raise RuntimeError("scripted defect")
        if verb == "refuse":
            raise OutOfMemory("The scripted device is full.")
        if verb == "silent":
            return
        if verb == "crash" or (verb == "crash-once" and job.attempt == 1):
            self._crash(job, emit)
        if verb == "fault":
            os._exit(DEVICE_FAULT_EXIT_CODE)
        if verb == "hang":
            time.sleep(600)
        seconds = 0.05 if verb == "slow" else self._script.step_seconds
        self._sample(job, emit, control, seconds, preview=b"x" * (300_000 if verb == "flood" else 300))
        if verb == "twice":
            emit(Finished(job_id=job.job_id, attempt=job.attempt, seconds=2.0))

    def _crash(self, job: RunJob, emit: Callable[[JobEvent], None]) -> None:
        """Die in the middle, with a picture already handed over and another half written."""
        emit(_picture(job, 0))
        (Path(job.staging) / f"{job.job_id}-{job.attempt}-1.png.part").write_bytes(b"half")
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    def _sample(self, job: RunJob, emit: Callable[[JobEvent], None], control: Control, seconds: float, preview: bytes) -> None:
        request = job.request
        common = {"job_id": job.job_id, "attempt": job.attempt}
        emit(Stage(**common, text="Loading scripted"))
        for batch in range(request.batch_count):
            numbers = range(batch * request.batch_size, (batch + 1) * request.batch_size)
            if set(numbers) <= job.done:
                continue
            if control.ending():
                emit(Cancelled(**common, seconds=0.1))
                return
            skipped = False
            for step in range(request.steps):
                time.sleep(seconds)
                if control.interrupted():
                    emit(Cancelled(**common, seconds=0.1))
                    return
                if skipped := control.skipped():
                    break
                emit(StepDone(**common, step=step + 1, steps=request.steps, batch=batch + 1, batches=request.batch_count, preview=preview))
            if not skipped:
                for number in numbers:
                    emit(_picture(job, number))
        emit(Finished(**common, seconds=1.0, notes=("scripted note",)))


def _picture(job: RunJob, index: int) -> ImageDone:
    """A real PNG whose pixels follow from the job's entropy, as an engine's do."""
    rng = random.Random(f"{job.entropy}-{index}")
    seed = rng.randrange(2**32)
    image = Image.frombytes("RGB", (16, 16), rng.randbytes(16 * 16 * 3))
    infotext = f"{job.request.prompt}\nSteps: {job.request.steps}, Seed: {seed}, Size: 16x16"
    meta = PngInfo()
    meta.add_text("parameters", infotext)
    staged = Path(job.staging) / f"{job.job_id}-{job.attempt}-{index}.png"
    image.save(staged, pnginfo=meta)
    return ImageDone(
        job_id=job.job_id,
        attempt=job.attempt,
        index=index,
        kind="image",
        staged=str(staged),
        width=16,
        height=16,
        seed=seed,
        infotext=infotext,
        prompt=job.request.prompt,
    )


def build(script: Script) -> ScriptedRunner:
    if script.build == "fail":
        raise RuntimeError("libscripted.so is missing")
    if script.build == "slow":
        time.sleep(1.0)
    in_a_child = multiprocessing.parent_process() is not None
    assert not in_a_child or "torch" not in sys.modules, "the seam itself must not pull torch into the child"
    return ScriptedRunner(script)
