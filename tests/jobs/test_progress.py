"""A1111's fraction, a time left that ignores loading, and nothing that outlives its job."""

from __future__ import annotations

import pytest

from modules.domain.events import Finished, Stage, Started, StepDone
from modules.jobs.progress import ProgressBoard


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> ProgressBoard:
    return ProgressBoard(clock)


def step(number: int, batch: int = 1, preview: bytes | None = None) -> StepDone:
    return StepDone(job_id="j", step=number, steps=10, batch=batch, batches=4, preview=preview)


def test_the_fraction_counts_batches_and_steps(board: ProgressBoard) -> None:
    board.take(step(5, batch=3))
    progress = board.progress("j")
    assert progress is not None
    assert progress.fraction == pytest.approx((2 + 0.5) / 4)
    assert (progress.step, progress.steps, progress.batch, progress.batches) == (5, 10, 3, 4)


def test_the_time_left_is_measured_from_the_first_step(board: ProgressBoard, clock: Clock) -> None:
    board.take(Started(job_id="j", image_count=4))
    board.take(Stage(job_id="j", text="Loading"))
    clock.now = 100.0
    board.take(step(1))
    first = board.progress("j")
    assert first is not None
    assert first.eta_seconds is None
    assert first.text == ""
    clock.now = 109.0
    board.take(step(10))
    progress = board.progress("j")
    assert progress is not None
    assert progress.eta_seconds == pytest.approx(30.0)


def test_a_job_that_goes_on_in_its_third_batch_is_timed_from_there(board: ProgressBoard, clock: Clock) -> None:
    board.take(step(1, batch=3))
    clock.now = 9.0
    board.take(step(10, batch=3))
    progress = board.progress("j")
    assert progress is not None
    assert progress.eta_seconds == pytest.approx(10.0)


def test_previews_are_numbered_and_kept_until_the_next(board: ProgressBoard) -> None:
    board.take(step(1, preview=b"one"))
    board.take(step(2))
    assert board.preview("j") == b"one"
    board.take(step(3, preview=b"two"))
    progress = board.progress("j")
    assert progress is not None
    assert progress.preview_id == 2
    assert board.preview("j") == b"two"


def test_a_finished_job_leaves_nothing_in_memory(board: ProgressBoard) -> None:
    board.take(step(1, preview=b"one"))
    board.take(Finished(job_id="j", seconds=1.0))
    assert board.progress("j") is None
    assert board.preview("j") is None
