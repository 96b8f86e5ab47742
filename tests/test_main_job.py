"""The main job end to end, through processes that die: what was accepted is finished, what was finished is still there."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser import fill, open_page
from tests.webui_process import WebUI, wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[WebUI]:
    program = WebUI(tmp_path / "data with spaces")
    yield program
    program.stop()


def _open(browser: Browser, webui: WebUI) -> Page:
    page = browser.new_page()
    open_page(page, webui.url, timeout=180_000)
    return page


def _submit(page: Page, prompt: str, *, steps: int, count: int = 1) -> None:
    for name, value in (("prompt", prompt), ("steps", steps), ("width", 128), ("height", 128), ("batch_count", count), ("seed", 11)):
        fill(page, f"txt2img_{name}", value)
    page.click("#txt2img_generate")
    page.wait_for_function("prompt => [...webui.jobs.values()].some((job) => job.prompt === prompt)", arg=prompt)


def _step_seen(page: Page) -> None:
    page.wait_for_function("() => /step [0-9]+/.test(document.querySelector('#txt2img_progress').textContent)", timeout=180_000)


def _states(webui: WebUI) -> dict[str, str]:
    with sqlite3.connect(f"file:{webui.data}/db/jobs.sqlite?mode=ro", uri=True) as rows:
        return {str(id_): str(state) for id_, state in rows.execute("SELECT id, state FROM jobs")}


def _pictures(webui: WebUI) -> list[Path]:
    return sorted((webui.data / "outputs" / "txt2img-images").rglob("*.png"))


def _all_done(webui: WebUI) -> Callable[[], bool]:
    return lambda: bool(_states(webui)) and set(_states(webui).values()) == {"done"}


def test_the_port_answers_before_the_page_and_the_page_before_the_engine(browser: Browser, webui: WebUI) -> None:
    webui.start(ready=False)
    page = browser.new_page()
    page.goto(webui.url)
    assert "starting" in page.content().lower()
    page.wait_for_selector("#txt2img_generate", timeout=180_000)  # the splash turns into the page by itself
    _submit(page, "as early as can be", steps=2)
    wait_for(_all_done(webui), 240, "the first picture")
    assert len(_pictures(webui)) == 1
    page.close()


def test_a_killed_engine_is_restarted_and_the_job_finishes(browser: Browser, webui: WebUI) -> None:
    page = _open(browser, webui.start())
    _submit(page, "survivor", steps=60, count=2)
    _step_seen(page)
    os.kill(webui.engine_pid(), signal.SIGKILL)
    wait_for(_all_done(webui), 240, "the retried job")
    assert [path.stem.split("-")[1] for path in _pictures(webui)] == ["11", "12"]
    page.wait_for_function("() => [...webui.jobs.values()].some((job) => job.state === 'done' && job.images.length >= 2)", timeout=20_000)
    page.close()


def test_everything_killed_and_started_again_loses_nothing(browser: Browser, webui: WebUI) -> None:
    page = _open(browser, webui.start())
    _submit(page, "running", steps=60, count=3)
    _submit(page, "waiting", steps=2)
    wait_for(lambda: len(_pictures(webui)) >= 1, 240, "the first finished picture")
    kept = {path: path.read_bytes() for path in _pictures(webui)}
    engine = webui.engine_pid()
    webui.kill()
    page.close()
    wait_for(
        lambda: not Path(f"/proc/{engine}").exists() or "Z" in Path(f"/proc/{engine}/stat").read_text().split()[2], 20, "the orphan to end"
    )
    webui.start()
    wait_for(_all_done(webui), 240, "both jobs")
    assert len(_states(webui)) == 2
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert [path.stem.split("-")[1] for path in _pictures(webui)] == ["11", "12", "13", "11"]
    for path in _pictures(webui):
        Image.open(path).verify()


def test_a_second_instance_is_told_where_the_first_one_is(webui: WebUI) -> None:
    webui.start(ready=False)
    second = WebUI(webui.data)
    second.log = webui.data / "second.log"
    with pytest.raises(AssertionError, match="ended") as told:
        second.start(ready=False)
    assert webui.url in str(told.value)
    assert second.process is not None
    assert second.process.wait(10) == 2
