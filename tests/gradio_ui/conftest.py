"""A running program and pages of it. One program for the whole folder, since it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.browser import open_page
from tests.webui_process import WebUI, wait_for


@pytest.fixture(scope="session")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    program = WebUI(tmp_path_factory.mktemp("data")).start()
    yield program
    program.stop()


@pytest.fixture
def page(browser: Browser, webui: WebUI) -> Iterator[Page]:
    """A fresh visitor on the opened page; a script error on it fails the test."""
    context = browser.new_context(viewport={"width": 1500, "height": 950}, accept_downloads=True)
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    open_page(tab, webui.url)
    yield tab
    context.close()
    _end_jobs(webui)
    assert not errors, errors


def _end_jobs(webui: WebUI) -> None:
    """Whatever a test left in the queue goes, so that one that fails does not take the ones after it along."""

    def active() -> list[str]:
        jobs = httpx.get(f"{webui.url}/internal/jobs", timeout=20).json()["jobs"]
        return [job["id"] for job in jobs if job["state"] in ("queued", "running")]

    for job in active():
        httpx.post(f"{webui.url}/internal/jobs/{job}/interrupt", timeout=20)
    wait_for(lambda: not active(), 60, "the queue to be empty")


@pytest.fixture
def outputs(webui: WebUI) -> Path:
    return webui.data / "outputs"
