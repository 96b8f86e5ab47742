"""/api/v1/jobs: what was accepted is found again by its id, whatever became of the connection."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.http_api.front import Front, front, picture
from tests.jobs.scripted_runner import Script
from tests.server.doors import guarded, served
from tests.webui_process import wait_for

BODY = {"txt2img": {"prompt": "draw", "steps": 2}}


def submit(made: Front, body: Any = None, status: int = 202, **headers: str) -> dict[str, Any]:
    reply = made.client.post("/api/v1/jobs", json=body or BODY, headers=headers)
    assert reply.status_code == status, reply.text
    return reply.json()


def finished(made: Front, job: dict[str, Any]) -> dict[str, Any]:
    wait_for(lambda: made.client.get(job["url"]).json()["state"] not in ("queued", "running"), 30, "the job's end")
    return made.client.get(job["url"]).json()


def test_submit_look_and_fetch(shared: Front):
    job = submit(shared, {"txt2img": {"prompt": "draw", "steps": 2, "n_iter": 2}})
    assert job["state"] in ("queued", "running") and job["image_count"] == 2 and job["source"] == "api"
    done = finished(shared, job)
    assert (done["state"], done["progress"], done["error"], done["notes"]) == ("done", None, "", ["scripted note"])
    images = [image for image in done["images"] if image["kind"] == "image"]
    assert [image["index"] for image in images] == [0, 1]
    for image in images:
        reply = shared.client.get(image["url"])
        assert reply.headers["content-type"] == "image/png" and Image.open(io.BytesIO(reply.content)).size == (16, 16)
    assert shared.client.get("/api/v1/jobs?limit=1").json()["jobs"][0]["id"] == job["id"]
    assert shared.client.get("/api/v1/jobs?active=true").json() == {"jobs": []}


def test_pictures_of_jobs_are_kept(own: Front):
    finished(own, submit(own))
    assert len(list(own.context.paths.outputs.glob("txt2img-images/**/*.png"))) == 1
    finished(own, submit(own, {"txt2img": {"prompt": "draw", "steps": 2, "save_images": False}}))
    assert len(list(own.context.paths.outputs.glob("txt2img-images/**/*.png"))) == 1


def test_img2img_jobs(shared: Front):
    job = submit(shared, {"img2img": {"prompt": "draw", "steps": 2, "init_images": [picture()]}})
    assert finished(shared, job)["state"] == "done"


def test_the_same_key_is_the_same_job(shared: Front):
    first, again = submit(shared, **{"Idempotency-Key": "once"}), submit(shared, **{"Idempotency-Key": "once"})
    assert first["id"] == again["id"] != submit(shared, **{"Idempotency-Key": "twice"})["id"]
    finished(shared, first)
    assert submit(shared, **{"Idempotency-Key": "once"})["id"] == first["id"]
    full = {"prompt": "draw", "steps": 2, "sampler_name": "DPM++ 2M Karras", "enable_hr": True, "refiner_checkpoint": "other", "eta": 0.5}
    more = {"override_settings": {"sd_vae": "nice", "CLIP_stop_at_last_layers": 2}, "hr_checkpoint_name": "other"}
    ids = {submit(shared, {"txt2img": {**full, **more}}, **{"Idempotency-Key": "full"})["id"] for _ in range(2)}
    assert len(ids) == 1
    problem = submit(shared, {"txt2img": {"prompt": "another"}}, 422, **{"Idempotency-Key": "once"})
    assert first["id"] in problem["errors"]


def test_whoever_accepts_pictures_gets_the_picture(shared: Front):
    reply = shared.client.post("/api/v1/jobs", json=BODY, headers={"Accept": "image/png"})
    assert reply.status_code == 200 and Image.open(io.BytesIO(reply.content)).format == "PNG"
    job = submit(shared)
    again = shared.client.get(job["url"], headers={"Accept": "image/*"})
    assert again.headers["content-type"] == "image/png" and finished(shared, job)["images"][-1]["seed"] >= 0


def test_a_failed_job_says_why(shared: Front):
    job = finished(shared, submit(shared, {"txt2img": {"prompt": "refuse", "steps": 2}}))
    assert job["state"] == "failed" and job["error"] == "The scripted device is full."
    reply = shared.client.post("/api/v1/jobs", json={"txt2img": {"prompt": "refuse"}}, headers={"Accept": "image/png"})
    assert reply.status_code == 500 and reply.json()["error"] == "OutOfMemory"


@pytest.mark.parametrize("body", [{}, {"txt2img": None}, {"txt2img": {}, "img2img": {}}, {"txt2img": {"steps": 0}}, {"txt2img": 5}, []])
def test_bad_jobs(shared: Front, body: Any):
    reply = shared.client.post("/api/v1/jobs", json=body)
    assert reply.status_code == 422 and reply.json()["errors"]


@pytest.mark.parametrize("path", ["jobs/nothing", "jobs/nothing/events", "images/nothing", "images/..%2F..%2Fconfig.yaml"])
def test_what_is_not_there(shared: Front, path: str):
    assert shared.client.get(f"/api/v1/{path}").status_code == 404


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Front]:
    with front(tmp_path, script=Script(step_seconds=0.01)) as made:
        yield made


def test_cancel(slow: Front):
    running, waiting = (submit(slow, {"txt2img": {"prompt": "draw", "steps": 1000}}) for _ in range(2))
    assert slow.client.post(waiting["url"] + "/cancel").json()["state"] == "cancelled"
    slow.client.post(running["url"] + "/cancel")
    assert finished(slow, running)["state"] == "cancelled"
    reply = slow.client.get(waiting["url"], headers={"Accept": "image/png"})
    assert reply.status_code == 404 and "without a picture" in reply.json()["detail"]


def test_a_full_queue_says_try_later(own: Front):
    own.context.settings.update({"queue_limit": 1})
    submit(own, {"txt2img": {"prompt": "slow", "steps": 100}})
    wait_for(lambda: own.get("progress")["progress"] > 0, 30, "the first job to run")
    submit(own, {"txt2img": {"prompt": "slow", "steps": 100}})
    reply = own.client.post("/api/v1/jobs", json=BODY)
    assert reply.status_code == 429 and reply.json()["error"] == "QueueFull"


def events(text: str) -> list[tuple[str, Any]]:
    return [(name, json.loads(data)) for name, data in re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)]


def test_watching(slow: Front):
    with served(guarded(slow.app)) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        before = http.post("/api/v1/jobs", json={"txt2img": {"prompt": "draw", "steps": 1000}}).json()
        job = http.post("/api/v1/jobs", json={"txt2img": {"prompt": "draw", "steps": 20, "n_iter": 2}}).json()
        text = ""
        with http.stream("GET", job["events"]) as stream:
            for part in stream.iter_text():
                if not text:
                    slow.context.queue.interrupt(before["id"])
                text += part
        seen = events(text)
        names = [name for name, _ in seen]
        assert names[0] == "job" and names[-1] == "done" and names.count("image") == 2 and {"progress", "preview"} <= {*names}
        done = seen[-1][1]
        assert done["state"] == "done" and {data["id"] for name, data in seen if name == "image"} <= {row["id"] for row in done["images"]}
        fractions = [data["fraction"] for name, data in seen if name == "progress" and data]
        assert fractions == sorted(fractions)
        assert [name for name, _ in events(http.get(job["events"]).text)] == ["job", "done"]


CLIENTS, JOBS = 32, 10


@pytest.mark.anyio
async def test_every_result_is_found_by_its_id_though_a_third_of_the_connections_drop(own: Front):
    """Every third client hangs up while it waits, then looks again by its idempotency key, as a program that lost the answer would."""

    dropped: list[int] = []

    async def one(http: httpx.AsyncClient, client: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number in range(JOBS):
            key = {"Idempotency-Key": f"{client}-{number}"}
            body = {"txt2img": {"prompt": f"draw {client} {number}", "steps": 1}}
            if client % 3 == 0:
                try:
                    await http.post("/api/v1/jobs", json=body, headers={**key, "Accept": "image/png"}, timeout=0.05)
                except httpx.TimeoutException:
                    dropped.append(client)
            job = (await http.post("/api/v1/jobs", json=body, headers=key)).json()
            await http.get(job["url"], headers={"Accept": "image/png"})
            found.append((await http.get(job["url"])).json())
        return found

    with served(guarded(own.app)) as port:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as http:
            jobs = [job for found in await asyncio.gather(*(one(http, client) for client in range(CLIENTS))) for job in found]
    assert len(dropped) > CLIENTS, "of 110"
    assert {job["state"] for job in jobs} == {"done"} and len({job["id"] for job in jobs}) == CLIENTS * JOBS
    assert {job["prompt"] for job in jobs} == {f"draw {client} {number}" for client in range(CLIENTS) for number in range(JOBS)}
    images = [image for job in jobs for image in job["images"] if image["kind"] == "image"]
    assert len({image["id"] for image in images}) == CLIENTS * JOBS
    assert all(own.context.gallery.path(image["id"]).is_file() for image in images)
    assert len(own.context.queue.list(limit=1000)) == CLIENTS * JOBS
