"""What is sent faster than it is read."""

from __future__ import annotations

import multiprocessing
from typing import Any

from modules.domain.events import Finished, StepDone
from modules.jobs.outbox import Outbox


def test_steps_that_nobody_has_read_become_one_and_keep_the_preview() -> None:
    ours, theirs = multiprocessing.Pipe()
    box = Outbox(theirs, "test")
    for step in range(1, 51):
        preview = b"x" * 300_000 if step < 50 else None
        box.put(StepDone(job_id="job", step=step, steps=50, batch=1, batches=1, preview=preview))
    box.put(Finished(job_id="job", seconds=0.0))
    got: list[Any] = []
    while not got or not isinstance(got[-1], Finished):
        got.append(ours.recv())
    box.close()
    assert len(got) <= 3
    assert (got[-2].step, got[-2].preview) == (50, b"x" * 300_000)
