"""A sweep in the middle of which everything is killed: it goes on by itself, and draws nothing twice."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Browser

from modules.imaging.files import read_infotext
from modules.imaging.infotext import parse_infotext
from tests.browser import choose, fill, open_page
from tests.webui_process import WebUI, wait_for

pytestmark = pytest.mark.browser

PREFIX = "script_txt2img_xyz_plot"
AXES = {"x": ("Steps", "4-6"), "y": ("CFG Scale", "2,4,6"), "z": ("Seed", "1,-1")}


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[WebUI]:
    program = WebUI(tmp_path / "data")
    yield program
    program.stop()


def _pictures(webui: WebUI) -> list[Path]:
    return sorted((webui.data / "outputs" / "txt2img-images").rglob("*.png"))


def _grids(webui: WebUI) -> list[Path]:
    return sorted((webui.data / "outputs" / "txt2img-grids").rglob("*.png"))


def _run_state(webui: WebUI) -> str:
    with sqlite3.connect(f"file:{webui.data}/db/runs.sqlite?mode=ro", uri=True) as rows:
        return str(rows.execute("SELECT state FROM runs").fetchone()[0])


def _kill_all(webui: WebUI) -> None:
    """Power cut: the program and its engine at once."""
    assert webui.process is not None
    family = [webui.process.pid, *(child.pid for child in psutil.Process(webui.process.pid).children(recursive=True))]
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    webui.process.wait(30)


def _ask(webui: WebUI) -> None:
    """The request of an A1111 client; it never hears the answer."""
    values = [part for letter in "xyz" for part in (AXES[letter][0], AXES[letter][1], [])]
    body = {"prompt": "a red apple", "width": 64, "height": 64, "save_images": True, "script_name": "x/y/z plot", "script_args": values}
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(f"{webui.url}/sdapi/v1/txt2img", json=body, timeout=300)


def _places(pictures: list[Path]) -> list[tuple[str, str, str]]:
    found = [parse_infotext(read_infotext(path)) for path in pictures]
    return [(each["Steps"], each["CFG scale"], each["Seed"]) for each in found]


def test_a_killed_sweep_goes_on_and_an_extended_one_draws_only_what_is_new(browser: Browser, webui: WebUI) -> None:
    webui.start()
    client = threading.Thread(target=_ask, args=(webui,), daemon=True)
    client.start()
    wait_for(lambda: len(_pictures(webui)) >= 5, 240, "the first cells")
    _kill_all(webui)
    client.join(30)
    kept = {path: path.read_bytes() for path in _pictures(webui)}
    assert 5 <= len(kept) < 18
    webui.start()
    wait_for(lambda: _run_state(webui) == "done", 280, "the end of the sweep")
    assert len(_pictures(webui)) == 18
    assert all(path.read_bytes() == data for path, data in kept.items())
    places = _places(_pictures(webui))
    seeds = {seed for _, _, seed in places}
    assert len(set(places)) == 18
    assert len(seeds) == 2
    (grid,) = _grids(webui)
    assert Image.open(grid).width > 6 * 64

    page = browser.new_page()
    open_page(page, webui.url)
    choose(page, "txt2img_script_container", "X/Y/Z plot")
    page.wait_for_selector(f"#{PREFIX}_x_type")
    for letter, (name, text) in AXES.items():
        choose(page, f"{PREFIX}_{letter}_type", name)
        fill(page, f"{PREFIX}_{letter}_values", "4-7" if letter == "x" else text)
    page.click("#txt2img_script_extend")
    wait_for(lambda: len(_grids(webui)) == 2, 280, "the second grid")
    wait_for(lambda: _run_state(webui) == "done", 60, "the run's end")
    pictures = _pictures(webui)
    assert len(pictures) == 24
    new = _places(pictures[18:])
    assert {steps for steps, _, _ in new} == {"7"}
    assert {seed for _, _, seed in new} == seeds
    page.close()
