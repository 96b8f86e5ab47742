"""While a job runs: where it stands, interrupting and skipping it, and whose it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from modules.domain.viewers import Viewer
from tests.http_api.front import Front, front
from tests.jobs.scripted_runner import Script
from tests.webui_process import wait_for

STATE = {
    *("skipped", "interrupted", "stopping_generation", "job", "job_count", "job_timestamp", "job_no"),
    *("sampling_step", "sampling_steps"),
}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Front]:
    with front(tmp_path, script=Script(step_seconds=0.02)) as made:
        yield made


@pytest.fixture
def start(slow: Front) -> Iterator[Callable[..., Future[Any]]]:
    """Sends a txt2img and does not wait for it."""
    with ThreadPoolExecutor(8) as threads:
        yield lambda **body: threads.submit(slow.post, "txt2img", {"prompt": "draw", "steps": 1000, **body})


def busy(slow: Front) -> dict[str, Any]:
    """The progress once steps are counted."""
    wait_for(lambda: slow.get("progress")["state"]["sampling_step"] > 1, 30, "the first steps")
    return slow.get("progress")


def test_idle(shared: Front):
    progress = shared.get("progress")
    assert (progress["progress"], progress["eta_relative"], progress["current_image"], progress["textinfo"]) == (0, 0, None, None)
    assert set(progress["state"]) == STATE and progress["state"]["job_count"] == 0


def test_progress_and_interrupt(slow: Front, start: Callable[..., Future[Any]]):
    waiting = start(n_iter=200, steps=10)
    wait_for(lambda: slow.get("progress")["state"]["job_no"] >= 1, 30, "the second batch")
    progress = slow.get("progress")
    assert 0.01 < progress["progress"] < 1 and progress["state"]["job_count"] == 200 and progress["state"]["sampling_steps"] == 10
    assert base64.b64decode(progress["current_image"]) == b"x" * 300
    assert slow.get("progress?skip_current_image=true")["current_image"] is None
    assert slow.post("interrupt") == {}
    answer = waiting.result(30)
    assert 1 <= len(answer["images"]) < 200 and len(json.loads(answer["info"])["all_seeds"]) == len(answer["images"])
    assert slow.get("progress")["state"]["job_count"] == 0


def test_skip_leaves_a_batch(slow: Front, start: Callable[..., Future[Any]]):
    waiting = start(n_iter=2)
    busy(slow)
    assert slow.post("skip") is None
    wait_for(lambda: slow.get("progress")["state"]["job_no"] == 1, 30, "the second batch")
    slow.post("skip")
    assert waiting.result(30)["images"] == []


def test_what_waits_is_not_idle(slow: Front, start: Callable[..., Future[Any]]):
    first = start()
    busy(slow)
    second = start(force_task_id="mine")
    wait_for(lambda: slow.client.get("/internal/pending-tasks").json()["size"] == 1, 30, "the second job")
    task = slow.client.post("/internal/progress", json={"id_task": "mine"}).json()
    assert (task["active"], task["queued"], task["completed"]) == (False, True, False)
    for waiting in (first, second):
        wait_for(lambda waiting=waiting: slow.post("interrupt") == {} and waiting.done(), 30, "the interrupted job")
    assert slow.client.get("/internal/pending-tasks").json() == {"size": 0, "tasks": []}


def test_a_task_by_its_name(slow: Front, start: Callable[..., Future[Any]]):
    waiting = start(force_task_id="task(abc)")
    busy(slow)
    task = slow.client.post("/internal/progress", json={"id_task": "task(abc)", "id_live_preview": -1}).json()
    assert task["active"] and not task["queued"] and task["progress"] > 0 and task["live_preview"].startswith("data:image/jpeg;base64,")
    again = slow.client.post("/internal/progress", json={"id_task": "task(abc)", "id_live_preview": task["id_live_preview"] + 1000}).json()
    assert again["live_preview"] is None
    slow.post("interrupt")
    waiting.result(30)
    assert slow.client.post("/internal/progress", json={"id_task": "task(abc)"}).json()["completed"] is True
    stranger = slow.client.post("/internal/progress", json={"id_task": "never heard of"}).json()
    assert (stranger["active"], stranger["queued"], stranger["completed"]) == (False, False, False)


def test_other_users_jobs_are_none_of_ones_business(slow: Front):
    @slow.app.middleware("http")
    async def who(request: Any, call_next: Any) -> Any:
        request.state.viewer = Viewer(request.headers.get("x-user", ""))
        return await call_next(request)

    ann, bob = ({"x-user": name} for name in ("ann", "bob"))
    http = TestClient(slow.app, base_url="http://127.0.0.1")
    job = http.post("/api/v1/jobs", json={"txt2img": {"prompt": "draw", "steps": 1000}}, headers=ann).json()
    progress = "/sdapi/v1/progress"
    wait_for(lambda: http.get(progress, headers=ann).json()["state"]["sampling_step"] > 0, 30, "ann's first step")
    assert http.get(progress, headers=bob).json()["state"]["job_count"] == 0
    http.post("/sdapi/v1/interrupt", headers=bob)
    assert http.get(job["url"], headers=bob).status_code == 404
    assert http.post(job["url"] + "/cancel", headers=bob).status_code == 404
    assert http.get("/api/v1/jobs", headers=bob).json() == {"jobs": []}
    assert http.get(job["url"], headers=ann).json()["state"] == "running"
    http.post("/sdapi/v1/interrupt", headers=ann)
    wait_for(lambda: http.get(job["url"], headers=ann).json()["state"] == "cancelled", 30, "the interrupted job")


def test_the_event_loop_is_free_while_jobs_are_waited_for(slow: Front):
    """More requests wait than there are threads to wait in, and short ones are still answered."""
    queue = slow.context.queue
    with TestClient(slow.app, base_url="http://127.0.0.1") as http, ThreadPoolExecutor(60) as threads:
        long = [threads.submit(http.post, "/sdapi/v1/txt2img", json={"prompt": "draw", "steps": 1000}) for _ in range(60)]
        wait_for(lambda: len(queue.list(active_only=True)) == 60, 60, "all jobs")
        assert http.get("/sdapi/v1/samplers").status_code == 200 and not any(future.done() for future in long)
        queue.clear(("",))
        wait_for(lambda: http.post("/sdapi/v1/interrupt").json() == {} and not queue.list(active_only=True), 30, "the queue to be empty")
        assert all(future.result(60).status_code == 200 for future in long)
