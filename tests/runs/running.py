"""A house of jobs (tests/jobs/house.py) with runs in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.gallery.inputs import InputStore
from modules.runs.run import Run
from modules.runs.runs import Runs
from modules.runs.store import RunStore
from modules.settings.wildcards import WildcardFolder
from tests.jobs.house import FixedCatalog, House, house
from tests.jobs.scripted_runner import Script


@dataclass
class Office:
    """What a test holds in its hands."""

    house: House
    runs: Runs
    inputs: InputStore

    def submit(self, script: str, values: dict[str, Any], prompt: str = "draw", *, tab: str = "txt2img", **fields: Any) -> Run:
        request = GenerationRequest(prompt=prompt, **{"steps": 2, **fields})
        return self.runs.submit(script, tab, request, values)

    def run(self, run: Run) -> Run:
        found = self.runs.get(run.id)
        assert found is not None
        return found

    def wait(self, run: Run, seconds: float = 60.0) -> Run:
        """The run when it is over."""
        self.wait_for(lambda: not self.run(run).active, seconds)
        return self.run(run)

    def wait_for(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    def jobs(self, run: Run) -> list[Job]:
        found = [self.house.queue.get(job_id) for job_id in self.runs.jobs(run.id)]
        return [job for job in found if job is not None]


@contextmanager
def office(folder: Path, *, script: Script | None = None, start: bool = True) -> Iterator[Office]:
    with house(folder, script=script or Script()) as made:
        inputs = InputStore(made.paths.inputs)
        runs = Runs(
            RunStore(made.paths.runs_db),
            made.queue,
            made.gallery,
            inputs,
            FixedCatalog(),
            tuple,
            made.paths.staging,
            WildcardFolder(made.paths.wildcards).lines,
        )
        if start:
            runs.start()
        try:
            yield Office(made, runs, inputs)
        finally:
            runs.close()
