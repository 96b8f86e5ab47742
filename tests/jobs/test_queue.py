"""What a click becomes, whichever process the engine lives in: the same cases for both executors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest, ModelNotFound, QueueFull
from modules.domain.events import Cancelled, Failed, Finished, ImageDone, ImageSaved, Queued, Started, StepDone
from modules.domain.requests import GenerationRequest
from modules.settings.schema import Models, Saving, System
from tests.jobs.house import House, house
from tests.jobs.scripted_runner import Script


@pytest.fixture(scope="module", params=["thread", "process"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One engine for all cases of a kind: that a case leaves it usable is part of what is tested."""
    with house(tmp_path_factory.mktemp(str(request.param)), kind=request.param) as made:
        yield made


def test_a_click_becomes_a_picture_a_row_and_a_done_job(shared: House) -> None:
    job = shared.wait(shared.submit(batch_count=2, batch_size=2))
    assert (job.state, job.attempt, job.error, job.notes) == ("done", 1, "", ("scripted note",))
    images = shared.gallery.for_job(job.id)
    assert [image.index for image in images] == [0, 1, 2, 3]
    for image in images:
        with Image.open(shared.gallery.path(image.id)) as picture:
            assert picture.text["parameters"] == image.infotext
    assert not list(shared.paths.staging.iterdir())
    progress = shared.queue.progress(job.id)
    assert (progress.state, progress.fraction) == ("done", 1.0)
    assert shared.queue.preview(job.id) is None


def test_events_come_in_order_and_end_once(shared: House) -> None:
    job = shared.wait(shared.submit(batch_count=2))
    kinds = [type(event).__name__ for event in shared.events if getattr(event, "job_id", "") == job.id and not isinstance(event, StepDone)]
    assert kinds == ["Queued", "Started", "Stage", "ImageSaved", "ImageSaved", "Finished"]
    assert not shared.heard(ImageDone, job), "staged files are nobody's business"
    last = shared.heard(StepDone, job)[-1]
    assert (last.step, last.batch, last.batches) == (2, 2, 2)
    assert job.finished is not None
    assert job.started is not None


@pytest.mark.parametrize(
    ("prompt", "kind", "reason"),
    [("raise", "RuntimeError", "unexpected"), ("refuse", "OutOfMemory", "scripted device"), ("silent", "RuntimeError", "without a result")],
)
def test_a_failing_job_says_why_and_the_next_one_works(shared: House, prompt: str, kind: str, reason: str) -> None:
    failed, after = shared.submit(prompt), shared.submit()
    job = shared.wait(failed)
    assert job.state == "failed"
    assert reason in job.error
    assert [event.kind for event in shared.heard(Failed, job)] == [kind]
    assert shared.wait(after).state == "done"


def test_a_second_end_of_a_job_is_not_heard(shared: House) -> None:
    job = shared.wait(shared.submit("twice"))
    shared.wait(shared.submit())
    assert len(shared.heard(Finished, job)) == 1
    assert shared.job(job).state == "done"


def test_interrupt_keeps_the_finished_pictures(shared: House) -> None:
    job = shared.submit("slow", steps=4, batch_count=50)
    shared.wait_for(lambda: len(shared.heard(ImageSaved, job)) >= 1)
    assert shared.queue.interrupt(job.id)
    ended = shared.wait(job)
    assert ended.state == "cancelled"
    assert len(shared.gallery.for_job(job.id)) == len(shared.heard(ImageSaved, job))
    assert 1 <= len(shared.gallery.for_job(job.id)) < 50
    assert not shared.queue.interrupt(job.id), "it is over"


def test_a_gentle_interrupt_finishes_the_batch_and_a_second_one_does_not(shared: House) -> None:
    job = shared.submit("slow", steps=10, batch_count=50)
    shared.wait_for(lambda: bool(shared.heard(StepDone, job)))
    assert shared.queue.interrupt(job.id, after_batch=True)
    assert shared.wait(job).state == "cancelled"
    assert [image.index for image in shared.gallery.for_job(job.id)] == [0]
    assert [event.step for event in shared.heard(StepDone, job)] == [*range(1, 11)]
    job = shared.submit("slow", steps=1000, batch_count=2)
    shared.wait_for(lambda: bool(shared.heard(StepDone, job)))
    shared.queue.interrupt(job.id, after_batch=True)
    shared.queue.interrupt(job.id)
    shared.queue.interrupt(job.id, after_batch=True)
    assert shared.wait(job, 5.0).state == "cancelled"
    assert not shared.gallery.for_job(job.id)


def test_interrupt_takes_a_waiting_job_out_and_touches_no_other(shared: House) -> None:
    running, waiting, last = shared.submit("slow", steps=10), shared.submit(), shared.submit()
    assert shared.queue.interrupt(waiting.id)
    assert shared.job(waiting).state == "cancelled"
    assert shared.wait(running).state == "done"
    assert shared.wait(last).state == "done"
    assert shared.gallery.for_job(waiting.id) == []
    assert len(shared.heard(Cancelled, waiting)) == 1


def test_an_interrupt_does_not_reach_the_next_job(shared: House) -> None:
    for _ in range(10):
        first, second = shared.submit("slow", steps=40), shared.submit()
        shared.wait_for(lambda job=first: bool(shared.heard(Started, job)))
        shared.queue.interrupt(first.id)
        assert shared.wait(first).state == "cancelled"
        assert shared.wait(second).state == "done"


def test_an_interrupt_right_after_the_click_is_not_lost(shared: House) -> None:
    for _ in range(10):
        job = shared.submit("slow", steps=200)
        shared.queue.interrupt(job.id)
        assert shared.wait(job).state == "cancelled"


def test_skip_leaves_one_batch(shared: House) -> None:
    job = shared.submit("slow", steps=10, batch_count=3)
    shared.wait_for(lambda: bool(shared.heard(StepDone, job)))
    assert shared.queue.skip(job.id)
    assert shared.wait(job).state == "done"
    assert [image.index for image in shared.gallery.for_job(job.id)] == [1, 2]
    assert not shared.queue.skip(job.id)


def test_progress_of_a_running_and_a_waiting_job(shared: House) -> None:
    running, waiting = shared.submit("slow", steps=20, batch_count=2), shared.submit()
    shared.wait_for(lambda: len(shared.heard(StepDone, running)) > 5)
    progress = shared.queue.progress(running.id)
    assert progress.state == "running"
    assert 0.0 < progress.fraction < 1.0
    assert progress.eta_seconds is not None
    assert progress.preview_id > 0
    assert shared.queue.preview(running.id) == b"x" * 300
    assert shared.queue.progress(waiting.id).queue_position == 1
    shared.queue.interrupt(running.id)
    shared.wait(waiting)


def test_what_was_frozen_at_the_click(shared: House) -> None:
    shared.set(models=Models(checkpoint="other", vae="nice", clip_skip=2), saving=Saving(jpeg_quality=33))
    job = shared.submit(sampler="K_Euler", schedule="Automatic")
    shared.set(models=Models(), saving=Saving())
    done = shared.wait(job)
    request = done.request
    assert (request.checkpoint, request.vae, request.clip_skip) == ("sub/other.ckpt", "nice.safetensors", 2)
    assert (request.sampler, request.schedule) == ("euler", "automatic")
    assert done.settings.saving.jpeg_quality == 33


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"sampler": "no such"}, InvalidRequest),
        ({"schedule": "no such"}, InvalidRequest),
        ({"checkpoint": "no such"}, ModelNotFound),
        ({"vae": "no such"}, ModelNotFound),
    ],
)
def test_a_wrong_name_fails_at_the_click(shared: House, fields: dict[str, str], error: type[Exception]) -> None:
    before = len(shared.queue.list())
    with pytest.raises(error, match="no such"):
        shared.submit(**fields)
    assert len(shared.queue.list()) == before


def test_the_same_key_is_the_same_job(shared: House) -> None:
    request = GenerationRequest(prompt="draw", steps=1)
    first = shared.queue.submit(request, idempotency_key="k1", owner="ann")
    again = shared.queue.submit(request, idempotency_key="k1", owner="ann")
    other = shared.queue.submit(request, idempotency_key="k1", owner="bob")
    assert first.id == again.id != other.id
    shared.wait(other)
    assert len(shared.heard(Queued, first)) == 1


def test_a_subscriber_that_fails_harms_nobody(shared: House) -> None:
    def fail(event: object) -> None:
        raise ValueError("scripted subscriber")

    leave = shared.queue.subscribe(fail)
    assert shared.wait(shared.submit()).state == "done"
    leave()


def test_unload_reaches_the_engine_between_jobs(shared: House) -> None:
    shared.wait(shared.submit())
    shared.queue.unload()
    shared.wait_for(lambda: shared.queue.engine.text == "unloads: 1")
    assert shared.wait(shared.submit()).state == "done"


def test_a_reader_that_sleeps_does_not_hold_up_the_engine(shared: House) -> None:
    """Previews of 300 KB, a subscriber that takes its time: steps are merged, pictures are not."""
    gate = threading.Event()
    leave = shared.queue.subscribe(lambda event: gate.wait(0.02) if isinstance(event, StepDone) else None)
    job = shared.submit("flood", steps=40, batch_count=3)
    assert shared.wait(job).state == "done"
    leave()
    assert len(shared.gallery.for_job(job.id)) == 3


def test_one_queue_takes_32_clicking_threads(shared: House) -> None:
    ids: list[str] = []
    lock = threading.Lock()

    def click(number: int) -> None:
        for turn in range(4):
            job = shared.queue.submit(GenerationRequest(prompt="draw", steps=1), idempotency_key=f"{number}-{turn // 2}", owner="crowd")
            with lock:
                ids.append(job.id)

    threads = [threading.Thread(target=click, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 128
    assert len(set(ids)) == 64
    shared.wait_for(lambda: not shared.queue.list(active_only=True), 60)
    jobs = shared.queue.list(("crowd",), limit=1000)
    assert {job.id for job in jobs} == set(ids)
    assert all(job.state == "done" and job.attempt == 1 and len(shared.gallery.for_job(job.id)) == 1 for job in jobs)


def test_order_first_clear_and_full(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        made.set(system=System(queue_limit=4))
        jobs = [made.submit() for _ in range(3)]
        other = made.queue.submit(GenerationRequest(prompt="draw", steps=1), owner="bob")
        with pytest.raises(QueueFull, match="4 jobs"):
            made.submit()
        assert made.queue.move_first(jobs[2].id)
        assert [job.id for job in made.queue.list(active_only=True)] == [jobs[2].id, jobs[0].id, jobs[1].id, other.id]
        assert [job.id for job in made.queue.list(limit=2)] == [other.id, jobs[2].id]
        assert made.queue.progress(other.id).queue_position == 3
        assert made.queue.clear(("",)) == [jobs[0].id, jobs[1].id, jobs[2].id]
        assert [job.id for job in made.queue.list(active_only=True)] == [other.id]
        assert not made.queue.move_first(jobs[0].id)
        made.queue.start()
        assert made.wait(other).state == "done"


def test_what_nobody_asked_for_has_no_progress(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        assert made.queue.get("nothing") is None
        with pytest.raises(InvalidRequest):
            made.queue.progress("nothing")


def test_an_engine_that_cannot_be_built_says_so(tmp_path: Path) -> None:
    for kind in ("thread", "process"):
        with house(tmp_path / kind, kind=kind, script=Script(build="fail")) as made:
            job = made.wait(made.submit())
            assert job.state == "quarantined"
            assert "libscripted.so is missing" in job.error


def test_jobs_wait_for_an_engine_that_still_loads(tmp_path: Path) -> None:
    for kind in ("thread", "process"):
        with house(tmp_path / kind, kind=kind, script=Script(build="slow")) as made:
            job = made.submit()
            assert "Loading" in made.queue.engine.text
            assert made.wait(job).state == "done"
            made.wait_for(lambda: made.queue.engine.state == "ready")
            assert made.queue.engine.device == "test"


def test_as_many_may_wait_as_the_setting_says(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        made.set(system=System(queue_limit=300))
        for _ in range(300):
            made.submit()
        with pytest.raises(QueueFull):
            made.submit()
        assert len(made.queue.list(active_only=True, limit=1000)) == 300


def test_settings_of_a_request_hold_for_its_job_alone_and_go_before_its_fields(shared: House) -> None:
    overrides = (("CLIP_stop_at_last_layers", "3"), ("always_discard_next_to_last_sigma", "True"), ("s_churn", "2.5"))
    job = shared.wait(shared.submit(clip_skip=1, overrides=overrides))
    assert (job.state, job.request.clip_skip) == ("done", 3)
    assert (job.settings.sampling.discard_penultimate, job.settings.sampling.s_churn) == (True, 2.5)
    after = shared.wait(shared.submit())
    assert after.settings == shared.settings[-1]
    for key, value in (("no_such_option", 1), ("s_churn", "many")):
        with pytest.raises(InvalidRequest):
            shared.submit(overrides=((key, value),))
