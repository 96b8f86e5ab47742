"""Scripts as A1111's clients ask for them: by name, with arguments by position."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from tests.http_api.front import Front, front, picture
from tests.jobs.scripted_runner import Script
from tests.webui_process import wait_for


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_script_answers_with_its_grid_and_all_its_pictures(own: Front):
    args = [True, True, "positive", "space", 4]
    answer = own.post("txt2img", {"prompt": "draw|a hat|a cat", "steps": 2, "script_name": "prompt matrix", "script_args": args})
    info = json.loads(answer["info"])
    assert len(answer["images"]) == 5 and info["index_of_first_image"] == 1
    assert info["all_prompts"] == ["draw", "a hat draw", "a cat draw", "a hat a cat draw"]
    grid, *cells = map(opened, answer["images"])
    assert {cell.size for cell in cells} == {(16, 16)}
    # rows and columns of 16 with a margin of 4 between them, and words above and beside
    left, top = grid.width - 36, grid.height - 36
    for index, cell in enumerate(cells):
        at = (left + index % 2 * 20, top + index // 2 * 20)
        assert grid.convert("RGB").crop((*at, at[0] + 16, at[1] + 16)).tobytes() == cell.convert("RGB").tobytes()
    seeds = [job.request.seed.value for job in reversed(own.context.queue.list())]
    assert seeds == list(range(seeds[0], seeds[0] + 4))
    assert grid.info["parameters"].endswith("Script: Prompt matrix")
    assert not list(own.context.paths.outputs.glob("txt2img-*")), "save_images was not asked for"


def test_arguments_that_are_missing_are_at_their_default_and_too_many_are_cut(own: Front):
    body = {"prompt": "draw|b", "steps": 1, "script_name": "Prompt matrix", "seed": 5}
    for args in ([], [False, False, "positive", "comma", 0, "one", "too", "many"]):
        answer = own.post("txt2img", {**body, "script_args": args})
        assert json.loads(answer["info"])["all_prompts"] == ["draw", "draw, b"]
    assert {job.request.seed.value for job in own.context.queue.list()} == {5}


def test_loopback_through_img2img(own: Front):
    body = {"init_images": [picture(64, 64)], "prompt": "draw", "steps": 2, "width": 64, "height": 64, "script_name": "Loopback"}
    answer = own.post("img2img", {**body, "script_args": [2, 0.1, "Linear", "None"]})
    assert len(answer["images"]) == 3
    strengths = [job.request.init.denoising_strength for job in reversed(own.context.queue.list()) if job.request.init]
    assert strengths == [0.75, 0.1]


def test_what_a_script_is_set_with_is_listed_by_position(shared: Front):
    infos = {(row["name"], row["is_img2img"]): row for row in shared.get("script-info")}
    matrix = infos["prompt matrix", False]
    assert [row["label"] for row in matrix["args"]] == [
        "Put variable parts at start of prompt",
        "Use different seed for each picture",
        "Select prompt",
        "Select joining char",
        "Grid margins (px)",
    ]
    assert matrix["args"][2]["choices"] == ["positive", "negative"] and not matrix["is_alwayson"]
    assert ("loopback", False) not in infos and infos["loopback", True]["args"][0]["value"] == 4


def test_a_script_that_fails_says_why(own: Front):
    body = {"prompt": "refuse", "script_name": "Prompts from file or textbox", "script_args": [False, False, "start", "refuse", False]}
    refused = own.post("txt2img", {**body, "prompt": ""}, 500)
    assert refused["detail"] == "The scripted device is full."


def test_a_job_of_its_own_takes_no_script(own: Front):
    reply = own.client.post("/api/v1/jobs", json={"txt2img": {"prompt": "draw|b", "script_name": "Prompt matrix"}})
    assert reply.status_code == 422 and "/sdapi/v1/txt2img" in reply.json()["errors"]


def test_progress_counts_a_scripts_jobs_and_interrupt_gives_what_there_is(tmp_path: Path):
    body = {"prompt": "draw|a|b|c", "steps": 8, "script_name": "Prompt matrix", "force_task_id": "task(mine)"}
    seen: list[dict[str, Any]] = []
    with front(tmp_path, script=Script(step_seconds=0.03)) as made, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(made.post, "txt2img", body)

        def far_enough() -> bool:
            seen.append(made.get("progress"))
            return seen[-1]["state"]["job_no"] >= 2

        wait_for(far_enough, 60, "two pictures")
        assert seen[-1]["state"]["job_count"] == 8
        assert 2 / 8 <= seen[-1]["progress"] < 1
        task = made.client.post("/internal/progress", json={"id_task": "task(mine)"}).json()
        assert task["active"] and task["progress"] >= 2 / 8
        made.post("interrupt")
        result = answer.result(60)
        # a grid of what there is, with the rest left empty
        assert 3 <= len(result["images"]) < 9
        assert json.loads(result["info"])["index_of_first_image"] == 1
        assert not made.context.queue.list(active_only=True)
        assert made.client.post("/internal/progress", json={"id_task": "task(mine)"}).json()["completed"]


def test_half_of_a_character_among_the_arguments_is_refused_and_spoils_no_list(shared: Front):
    lines = {"script_name": "Prompts from file or textbox", "script_args": [False, False, "start", "a cat\ndraw \ud83d"]}
    body = json.dumps({"sampler_name": "Euler", **lines})
    reply = shared.client.post("/sdapi/v1/txt2img", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert "Line 2: The prompt holds half of a character, at position " in reply.json()["errors"]
    assert shared.client.get("/api/v1/jobs").status_code == 200
