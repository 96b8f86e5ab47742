"""Whatever dies, an accepted job ends once, with its pictures, or says why not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from modules.domain.errors import StorageError
from modules.domain.events import EngineStatus, Failed, Finished, ImageDone, ImageSaved, JobEvent, Started, StepDone
from modules.domain.jobs import Job
from modules.gallery.gallery import Gallery
from modules.jobs.executor import ChildProcessExecutor
from modules.jobs.protocol import RunJob
from modules.jobs.queue import JobQueue
from tests.jobs.house import FixedCatalog, House, house
from tests.jobs.scripted_runner import Script, _picture

ROOT = Path(__file__).resolve().parents[2]


def pid(made: House) -> int | None:
    assert isinstance(made.executor, ChildProcessExecutor)
    return made.executor.pid


def files(made: House) -> list[Path]:
    return sorted(path for path in made.paths.outputs.rglob("*") if path.is_file())


def test_a_job_whose_engine_dies_once_is_done_with_the_same_pictures(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        job = made.wait(made.submit("crash-once", batch_count=3))
        assert (job.state, job.attempt, job.crashes) == ("done", 2, 1)
        images = made.gallery.for_job(job.id)
        assert [image.index for image in images] == [0, 1, 2]
        assert len(files(made)) == 3
        entropy_seeds = [random.Random(f"{job.entropy}-{index}").randrange(2**32) for index in range(3)]
        assert [image.seed for image in images] == entropy_seeds
        assert len(made.heard(Started, job)) == 2


def test_a_job_that_kills_twice_is_quarantined_and_the_next_one_runs(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        poison, after = made.submit("crash", batch_count=2), made.submit()
        job = made.wait(poison)
        assert (job.state, job.attempt) == ("quarantined", 2)
        assert "signal 9" in job.error
        assert "medvram" in job.error
        assert [event.kind for event in made.heard(Failed, job)] == ["EngineDied"]
        assert [image.index for image in made.gallery.for_job(job.id)] == [0], "the finished picture is kept, once"
        assert made.wait(after).state == "done"
        assert not list(made.paths.staging.iterdir())


def test_a_device_fault_is_told_as_one(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        job = made.wait(made.submit("fault"))
        assert job.state == "quarantined"
        assert "graphics device" in job.error
        assert made.wait(made.submit()).state == "done"


def _random_kills(folder: Path, kills: int, seed: int) -> None:
    """Kill the engine at random moments while jobs run; every job ends, none twice, no picture is lost or doubled."""
    rng = random.Random(seed)
    with house(folder, script=Script(step_seconds=0.004)) as made:
        done = kill_count = 0
        jobs: list[Job] = []
        while kill_count < kills:
            while len(made.queue.list(active_only=True)) < 4:
                jobs.append(made.submit(batch_count=3, steps=6))
            time.sleep(rng.random() * 0.8)
            victim = pid(made)
            if victim is not None and made.queue.engine.state != "restarting":
                os.kill(victim, rng.choice((signal.SIGKILL, signal.SIGSEGV)))
                kill_count += 1
                made.wait_for(lambda victim=victim: pid(made) not in (None, victim))
        for job in jobs:
            ended = made.wait(job, 60)
            indices = [image.index for image in made.gallery.for_job(job.id)]
            assert ended.attempt <= 2
            assert (ended.state, indices) == ("done", [0, 1, 2]) or ended.state == "quarantined"
            assert len(made.heard((Finished, Failed), job)) == 1
            assert len({event.image.id for event in made.heard(ImageSaved, job)}) == len(indices)
            done += ended.state == "done"
        assert kill_count == kills
        assert done
        assert len(files(made)) == sum(len(made.gallery.for_job(job.id)) for job in jobs)
        assert not list(made.paths.staging.iterdir())
        assert made.wait(made.submit()).state == "done"


def test_random_kills_of_the_engine(tmp_path: Path) -> None:
    _random_kills(tmp_path, 6, 1)


@pytest.mark.slow
def test_100_random_kills_of_the_engine(tmp_path: Path) -> None:
    threads, handles = threading.active_count(), psutil.Process().num_fds()
    _random_kills(tmp_path, 100, 2)
    assert threading.active_count() <= threads + 1
    assert psutil.Process().num_fds() <= handles + 3


def test_interrupting_an_engine_that_hangs_replaces_it(tmp_path: Path) -> None:
    with house(tmp_path, patience=0.1) as made:
        job, after = made.submit("hang"), made.submit()
        made.wait_for(lambda: bool(made.heard(Started, job)))
        made.queue.interrupt(job.id)
        time.sleep(0.2)
        made.queue.interrupt(job.id)
        assert made.wait(job).state == "cancelled"
        assert made.wait(after).state == "done"


def test_an_engine_that_may_finish_its_batch_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    with house(tmp_path, patience=0.1) as made:
        job = made.submit("slow", steps=20, batch_count=3)
        made.wait_for(lambda: bool(made.heard(Started, job)))
        for _ in range(3):
            made.queue.interrupt(job.id, after_batch=True)
            time.sleep(0.2)
        assert made.wait(job).state == "cancelled"
        assert [image.index for image in made.gallery.for_job(job.id)] == [0]
        assert not [event for event in made.events if getattr(event, "state", "") == "restarting"]


def test_a_job_is_interrupted_at_once_also_where_no_engine_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    def refuse(executor: ChildProcessExecutor) -> None:
        tries.append(time.monotonic())
        raise OSError("no process is left")

    monkeypatch.setattr(ChildProcessExecutor, "_spawn", refuse)
    with house(tmp_path) as made:
        job = made.submit()
        made.wait_for(lambda: made.job(job).state == "running" and "no process is left" in made.queue.engine.text)
        assert made.queue.interrupt(job.id)
        ended = made.wait(job)
        assert (ended.state, ended.crashes) == ("cancelled", 0)
    assert len(tries) < 20, "it is tried again ever more seldom"


def test_closing_ends_also_an_engine_that_is_stopped_and_keeps_the_job(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        job = made.submit("hang")
        made.wait_for(lambda: bool(made.heard(Started, job)))
        child = pid(made)
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        made.queue.close()
        assert not psutil.pid_exists(child)
        kept = made.job(job)
        assert (kept.state, kept.crashes) == ("queued", 0), "closing is nobody's crash"


def test_control_c_in_the_terminal_leaves_the_engine_to_the_page(tmp_path: Path) -> None:
    with house(tmp_path) as made:
        job = made.submit("slow", steps=10)
        made.wait_for(lambda: bool(made.heard(StepDone, job)))
        child = pid(made)
        assert child is not None
        os.kill(child, signal.SIGINT)
        assert made.wait(job).attempt == 1
        assert pid(made) == child


def test_a_restart_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread") as made:
        job = made.submit("slow", steps=2, batch_count=30)
        waiting = made.submit()
        made.wait_for(lambda: len(made.heard(ImageSaved, job)) >= 2)
    with house(tmp_path, kind="thread", start=False) as made:
        assert [entry.id for entry in made.queue.list(active_only=True)] == [job.id, waiting.id]
        before = made.gallery.saved_indices(job.id)
        assert before
        made.queue.start()
        ended = made.wait(job)
        made.wait(waiting)
        assert (ended.state, ended.crashes) == ("done", 0)
        assert made.gallery.saved_indices(job.id) == frozenset(range(30))
        assert len(made.heard(ImageSaved, job)) == 30 - len(before), "what was saved was not drawn again"
        assert len(files(made)) == 31


def test_a_job_with_all_its_pictures_needs_no_engine(tmp_path: Path) -> None:
    with house(tmp_path, start=False, script=Script(build="fail")) as made:
        job = made.submit(batch_count=2)
        made.paths.staging.mkdir(parents=True, exist_ok=True)
        for index in range(2):
            made.gallery.commit(_staged(made, job, index), job)
        made.queue.start()
        assert made.wait(job).state == "done"


def test_a_job_that_took_the_program_down_twice_is_not_tried_a_third_time(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        job, after = made.submit(), made.submit()
        made.store.claim()
    with house(tmp_path, kind="thread", start=False) as made:
        assert made.job(job).state == "queued"
        made.store.claim()
    with house(tmp_path, kind="thread") as made:
        assert made.job(job).state == "quarantined"
        assert "more than once" in made.job(job).error
        assert made.wait(after).state == "done"


def _start_web_process(folder: Path, count: int) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.web_process", str(folder), str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_killing_the_web_process_leaves_no_engine_behind(tmp_path: Path) -> None:
    process, engine = _start_web_process(tmp_path, 50)
    assert psutil.pid_exists(engine)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while _alive(engine):
        assert time.monotonic() < end, "the engine outlived its page"
        time.sleep(0.02)


def test_killing_everything_in_mid_work_loses_no_accepted_job(tmp_path: Path) -> None:
    rng = random.Random(3)
    for _ in range(3):
        process, _engine = _start_web_process(tmp_path, 15)
        time.sleep(rng.random() * 0.6)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    accepted = (tmp_path / "ledger").read_text().split()
    assert len(accepted) >= 3
    with house(tmp_path, kind="thread") as made:
        made.wait_for(lambda: not made.queue.list(active_only=True, limit=1))
        jobs = [made.queue.get(job_id) for job_id in accepted]
        assert all(job is not None and job.state in ("done", "quarantined") for job in jobs)
        done = [job for job in made.queue.list(limit=1000) if job.state == "done"]
        assert len(done) >= len(accepted) - 2
        for job in done:
            assert [image.index for image in made.gallery.for_job(job.id)] == [0, 1]
        shown = {made.gallery.path(image.id) for job in made.queue.list(limit=1000) for image in made.gallery.for_job(job.id)}
        assert shown == set(files(made)), "every file has its row, no picture is there twice"


class _LateExecutor:
    """Says, in the middle of an attempt, what an earlier attempt of the job and another job would have said late."""

    def start(self, on_status: Callable[[EngineStatus], None]) -> None:
        on_status(EngineStatus(state="ready"))

    def run(self, job: RunJob, emit: Callable[[JobEvent], None]) -> None:
        late = replace(job, attempt=job.attempt + 7)
        emit(Started(job_id=job.job_id, attempt=job.attempt, image_count=1))
        emit(_picture(late, 0))
        emit(Failed(job_id=job.job_id, attempt=late.attempt, reason="late", kind="Late"))
        emit(Finished(job_id="another", attempt=job.attempt, seconds=0.0))
        emit(_picture(job, 0))
        emit(Finished(job_id=job.job_id, attempt=job.attempt, seconds=0.0))
        emit(_picture(job, 1))

    def interrupt(self, job_id: str) -> None: ...

    def skip(self, job_id: str) -> None: ...

    def unload(self) -> None: ...

    def close(self) -> None: ...


def test_events_of_attempts_that_were_given_up_change_nothing(tmp_path: Path) -> None:
    with house(tmp_path, start=False) as made:
        late = JobQueue(
            made.store,
            _LateExecutor(),
            FixedCatalog(),
            lambda: made.settings[0],
            made.gallery.commit,
            made.gallery.saved_indices,
            made.paths.staging,
            made.paths.inputs,
        )
        late.subscribe(made.hear)
        late.start()
        job = made.wait(late.submit(made.submit().request, idempotency_key="late"))
        late.close()
        assert job.state == "done"
        assert [image.index for image in made.gallery.for_job(job.id)] == [0]
        assert len(files(made)) == len(made.queue.list()), "one picture a job, no staged leftovers"


def test_a_full_disk_delays_the_end_of_a_job_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        finish, failures = made.store.finish, [2]

        def full(*args: object, **named: object) -> bool:
            if failures[0]:
                failures[0] -= 1
                raise StorageError("jobs.sqlite can't be written: database or disk is full.")
            return finish(*args, **named)

        monkeypatch.setattr(made.store, "finish", full)
        made.queue.start()
        job = made.wait(made.submit())
        assert job.state == "done"
        assert failures == [0]


def test_a_gallery_that_can_t_be_read_for_a_moment_delays_a_job_and_fails_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [2]
    read = Gallery.saved_indices

    def flaky(gallery: Gallery, job_id: str) -> frozenset[int]:
        if failures[0]:
            failures[0] -= 1
            raise StorageError("gallery.sqlite can't be read: disk I/O error.")
        return read(gallery, job_id)

    monkeypatch.setattr(Gallery, "saved_indices", flaky)
    with house(tmp_path, kind="thread") as made:
        assert made.wait(made.submit()).state == "done"
    assert failures == [0]


def test_a_picture_that_can_be_saved_nowhere_fails_the_job_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with house(tmp_path, kind="thread", start=False) as made:

        def refuse(event: ImageDone, job: Job) -> None:
            raise StorageError("Neither here nor there.")

        monkeypatch.setattr(made.queue, "_commit_image", refuse)
        made.queue.start()
        job = made.wait(made.submit())
        assert (job.state, job.error) == ("failed", "Neither here nor there.")
        assert [path.name for path in made.paths.staging.iterdir()] == [f"kept-{job.id}-1-0.png"]
    with house(tmp_path, kind="thread", start=False) as made:
        assert list(made.paths.staging.iterdir()), "the next start leaves it alone"


def _staged(made: House, job: Job, index: int) -> ImageDone:
    order = RunJob(
        job_id=job.id,
        attempt=1,
        request=job.request,
        settings=job.settings,
        catalog=FixedCatalog().snapshot(),
        entropy=job.entropy,
        staging=str(made.paths.staging),
    )
    return _picture(order, index)


def _alive(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
