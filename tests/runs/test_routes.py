"""What the page may do with runs: its own alone, and nothing of a prompt becomes markup."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from modules.domain.errors import UserError
from modules.domain.requests import GenerationRequest
from modules.domain.viewers import Viewer
from modules.gradio_ui.mount import sentence
from modules.gradio_ui.routes.page import page_routes
from modules.gradio_ui.routes.runs import run_routes
from modules.runs.run import Run
from tests.http_api.front import Front, front
from tests.webui_process import wait_for

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def made(tmp_path: Path):
    with front(tmp_path) as found:
        yield found


def client(made: Front, user: str, *, at_the_machine: bool = False) -> TestClient:
    app = FastAPI()

    @app.middleware("http")
    async def let_in(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.viewer = Viewer(user, at_the_machine)
        return await call(request)

    app.add_exception_handler(UserError, sentence)
    app.include_router(run_routes(made.context))
    app.include_router(page_routes(made.context))
    return TestClient(app)


def over(made: Front, owner: str, prompt: str = "draw") -> Run:
    values = {"x_type": "Prompt S/R", "x_values": f"draw,{EVIL.replace(chr(34), chr(39))}", "y_type": "Steps", "y_values": "1,2"}
    run = made.context.runs.submit("X/Y/Z plot", "txt2img", GenerationRequest(prompt=prompt, steps=1), values, owner=owner)

    def ended() -> bool:
        found = made.context.runs.get(run.id)
        return found is not None and not found.active

    wait_for(ended, 60, "the run's end")
    found = made.context.runs.get(run.id)
    assert found is not None
    assert found.state == "done", found.error
    return found


def test_a_run_and_its_pictures_are_their_owners_alone(made: Front) -> None:
    run = over(made, "anna")
    grid = made.context.runs.images(run)[0]
    mine, theirs = client(made, "anna"), client(made, "ben")
    assert mine.get(f"/internal/runs/{run.id}/sheet").status_code == 200
    assert mine.get(f"/internal/images/{grid.id}").status_code == 200
    assert [each["id"] for each in mine.get("/internal/jobs").json()["runs"]] == [run.id]
    for verb in ("pause", "resume", "cancel"):
        assert theirs.post(f"/internal/runs/{run.id}/{verb}").status_code == 404
    for name in ("sheet", "sheet.csv", "sheet.html"):
        assert theirs.get(f"/internal/runs/{run.id}/{name}").status_code == 404
    assert theirs.get(f"/internal/images/{grid.id}").status_code == 404
    assert theirs.get("/internal/jobs").json()["runs"] == []


def test_what_was_drawn_before_there_was_a_login_is_found_after_it_at_the_machine_alone(made: Front) -> None:
    run, other = over(made, ""), over(made, "anna")
    grid = made.context.runs.images(run)[0]
    for who, known in (
        (client(made, ""), {run.id, other.id}),
        (client(made, "anna", at_the_machine=True), {run.id, other.id}),
        (client(made, "anna"), {other.id}),
        (client(made, "ben", at_the_machine=True), {run.id}),
        (client(made, "ben"), set[str]()),
    ):
        assert {each["id"] for each in who.get("/internal/jobs").json()["runs"]} == known
        listed = {image["id"] for image in who.get("/internal/images?limit=200").json()["images"]}
        assert (grid.id in listed) is (run.id in known)
        status = 200 if run.id in known else 404
        assert who.get(f"/internal/images/{grid.id}").status_code == status
        assert who.get(f"/internal/runs/{run.id}/sheet").status_code == status


def test_a_browser_keeps_thumbnails_but_not_the_grey_square_of_a_file_that_can_t_be_read_now(made: Front) -> None:
    images = made.context.runs.images(over(made, ""))
    http, gone = client(made, ""), made.context.gallery.path(images[0].id)
    away = gone.rename(gone.with_suffix(".away"))
    assert http.get(f"/internal/thumbs/{images[0].id}").headers["cache-control"] == "no-store"
    away.rename(gone)
    for image in images:
        assert "immutable" in http.get(f"/internal/thumbs/{image.id}").headers["cache-control"]


def test_an_exported_page_holds_words_as_words(made: Front) -> None:
    run = over(made, "", f"draw {EVIL}")
    reply = client(made, "").get(f"/internal/runs/{run.id}/sheet.html")
    assert "<img src=x" not in reply.text
    assert "&lt;img src=x" in reply.text
    assert reply.headers["content-disposition"].startswith("attachment")


def test_a_spreadsheet_computes_nothing_of_a_prompt(made: Front) -> None:
    run = over(made, "", "draw")
    made.context.runs.go_on(run.id, {**run.values, "x_values": "draw,=1+1"})

    def ended() -> bool:
        found = made.context.runs.get(run.id)
        return found is not None and not found.active and "=1+1" in str(found.sheet)

    wait_for(ended, 60, "the extended run's end")
    lines = client(made, "").get(f"/internal/runs/{run.id}/sheet.csv").text.splitlines()
    assert len(lines) == 5
    assert any(line.startswith("'=1+1,") for line in lines)


def test_what_cannot_go_on_says_so(made: Front) -> None:
    run = over(made, "")
    reply = client(made, "").post(f"/internal/runs/{run.id}/resume")
    assert reply.status_code == 409
    assert reply.json()["detail"] == "Nothing is missing in this run."
    assert client(made, "").post("/internal/runs/nothing/resume").status_code == 404


def test_a_picture_that_a_run_still_needs_is_not_deleted(made: Front) -> None:
    values = {"prompt_txt": "draw\nslow", "make_combined": True}
    request = GenerationRequest(prompt="", steps=400)
    run = made.context.runs.submit("Prompts from file or textbox", "txt2img", request, values)
    page = client(made, "")

    def first() -> list[str]:
        jobs = made.context.runs.jobs(run.id)
        return [image.id for job_id in jobs for image in made.context.gallery.for_job(job_id)]

    wait_for(lambda: bool(first()), 60, "its first picture")
    answer = page.post(f"/internal/images/{first()[0]}/delete")
    assert answer.status_code == 409
    assert "needs this picture" in answer.json()["detail"]
    made.context.runs.cancel(run.id)
    wait_for(lambda: not (found := made.context.runs.get(run.id)) or not found.active, 60, "the run's end")
    file = made.context.gallery.path(first()[0])
    assert page.post(f"/internal/images/{first()[0]}/delete").status_code == 200
    assert not file.exists()


def test_what_can_not_be_done_is_said_and_a_gone_picture_is_an_empty_cell(made: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    run = over(made, "")
    assert run.sheet is not None
    page, image_id = client(made, ""), run.sheet.cells[0]
    file = made.context.gallery.path(image_id)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        answer = page.post(f"/internal/images/{image_id}/delete")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"{file.name} can't be deleted: Permission denied."
    file.unlink()
    shown = page.get(f"/internal/runs/{run.id}/sheet.html")
    assert shown.status_code == 200
    assert "is not there any more" in shown.text
