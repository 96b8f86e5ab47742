"""A queue with a real store, a real gallery and a scripted engine, in a folder of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from modules.domain.catalog import Catalog, CheckpointInfo, SamplerInfo, ScheduleInfo, VaeInfo
from modules.domain.events import TERMINAL, EngineStatus, JobEvent
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.gallery.gallery import Gallery
from modules.jobs.executor import ChildProcessExecutor, InProcessExecutor
from modules.jobs.protocol import Executor
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.settings.paths import Paths
from modules.settings.schema import Settings
from tests.jobs.scripted_runner import Script, build

FACTORY = "tests.jobs.scripted_runner:build"

CATALOG = Catalog(
    checkpoints=(
        CheckpointInfo(name="tiny.safetensors", path="tiny.safetensors", format="safetensors", sha256="ab" * 32),
        CheckpointInfo(name="sub/other.ckpt", path="sub/other.ckpt", format="ckpt"),
    ),
    vaes=(VaeInfo(name="nice.safetensors", path="nice.safetensors"),),
    samplers=(SamplerInfo(id="dpmpp_2m", label="DPM++ 2M"), SamplerInfo(id="euler", label="Euler", aliases=("k_euler",))),
    schedules=(ScheduleInfo(id="karras", label="Karras"),),
)


class FixedCatalog:
    def snapshot(self) -> Catalog:
        return CATALOG

    def refresh(self) -> Catalog:
        return CATALOG


def paths_in(folder: Path) -> Paths:
    return Paths(
        data=folder,
        models=folder / "models",
        checkpoints=(),
        vaes=(),
        loras=(),
        embeddings=folder / "embeddings",
        outputs=folder / "outputs",
    )


@dataclass
class House:
    """What a test holds in its hands."""

    queue: JobQueue
    store: JobStore
    gallery: Gallery
    executor: Executor
    paths: Paths
    settings: list[Settings]
    events: list[JobEvent | EngineStatus] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, event: JobEvent | EngineStatus) -> None:
        with self.arrived:
            self.events.append(event)
            self.arrived.notify_all()

    def submit(self, prompt: str = "draw", **fields: object) -> Job:
        return self.queue.submit(GenerationRequest(prompt=prompt, **{"steps": 2, **fields}))

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        with self.arrived:
            while not condition():
                assert time.monotonic() < end, f"waited in vain; the last events: {self.events[-8:]}"
                self.arrived.wait(0.05)

    def wait(self, job: Job, seconds: float = 30.0) -> Job:
        """The job when it is over and everybody was told."""
        self.wait_for(lambda: not self.job(job).active and bool(self.heard(TERMINAL, job)), seconds)
        return self.job(job)

    def job(self, job: Job) -> Job:
        found = self.queue.get(job.id)
        assert found is not None
        return found

    def heard(self, kind: type | tuple[type, ...], job: Job) -> list[JobEvent]:
        with self.arrived:
            return [event for event in self.events if isinstance(event, kind) and getattr(event, "job_id", "") == job.id]

    def set(self, **sections: object) -> None:
        self.settings[0] = replace(self.settings[0], **sections)


@contextmanager
def house(
    folder: Path, *, kind: str = "process", script: Script | None = None, start: bool = True, patience: float = 20.0
) -> Iterator[House]:
    paths, script = paths_in(folder), script or Script()
    settings = [Settings()]
    store, gallery = JobStore(paths.jobs_db), Gallery(paths)
    executor: Executor = (
        InProcessExecutor(lambda: build(script)) if kind == "thread" else ChildProcessExecutor(FACTORY, script, patience=patience)
    )
    queue = JobQueue(
        store, executor, FixedCatalog(), lambda: settings[0], gallery.commit, gallery.saved_indices, paths.staging, paths.inputs
    )
    made = House(queue, store, gallery, executor, paths, settings)
    queue.subscribe(made.hear)
    if start:
        queue.start()
    try:
        yield made
    finally:
        queue.close()
        gallery.close()
        store.close()
