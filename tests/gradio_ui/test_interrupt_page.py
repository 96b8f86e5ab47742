"""What Interrupt leaves on the page and on the disk, in a real browser, with the starter checkpoint."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import fill, generate
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser

LOG = "#html_log_txt2img"


def _slow_form(page: Page, prompt: str, count: int) -> None:
    fill(page, "txt2img_prompt", prompt)
    fill(page, "txt2img_steps", 150)
    fill(page, "txt2img_width", 128)
    fill(page, "txt2img_height", 128)
    fill(page, "txt2img_batch_count", count)


def _drawing(page: Page) -> None:
    """Press Generate and wait until the first preview is there."""
    page.click("#txt2img_generate")
    expect(page.locator("#txt2img_gallery img.shown.preview")).to_be_visible(timeout=60_000)


def _job(page: Page, prompt: str) -> str:
    return f"[...webui.jobs.values()].find((job) => job.prompt === '{prompt}')"


def _quick_again(page: Page) -> None:
    fill(page, "txt2img_batch_count", 1)
    fill(page, "txt2img_steps", 2)
    generate(page)


def test_the_picture_that_is_being_drawn_is_finished_first(page: Page) -> None:
    _slow_form(page, "finished first", 5)
    _drawing(page)
    page.click("#txt2img_interrupt")
    expect(page.locator(".webui-toast", has_text="Interrupt again to end it now")).to_be_visible()
    expect(page.locator("#txt2img_progress")).to_contain_text("the last one")
    # a fifth of the batch, and nearly all of what is left of it
    page.wait_for_function("() => Number(document.querySelector('#txt2img_progress').getAttribute('aria-valuenow')) > 25", timeout=60_000)
    page.wait_for_function("() => !webui.busy()", timeout=60_000)
    expect(page.locator(LOG)).to_contain_text("interrupted")
    assert page.evaluate(f"() => {_job(page, 'finished first')}.images.map((image) => image.index).join()") == "0"
    _quick_again(page)


def test_pressed_twice_it_ends_now_and_the_last_preview_stays(page: Page, outputs: Path) -> None:
    before = {*outputs.rglob("*.png")}
    _slow_form(page, "ended now", 5)
    _drawing(page)
    page.click("#txt2img_interrupt")
    expect(page.locator("#txt2img_progress")).to_contain_text("the last one")
    page.click("#txt2img_interrupt")
    page.wait_for_function("() => !webui.busy()", timeout=20_000)
    expect(page.locator(LOG)).to_contain_text("interrupted: this is its last preview, not saved")
    expect(page.locator("#txt2img_gallery img.shown.preview")).to_be_visible()
    assert (page.locator("#txt2img_gallery img.shown").get_attribute("src") or "").startswith("data:image/jpeg")
    assert page.evaluate(f"() => {_job(page, 'ended now')}.images.length") == 0
    assert {*outputs.rglob("*.png")} == before
    _quick_again(page)
    assert (page.locator("#txt2img_gallery img.shown").get_attribute("src") or "").startswith("internal/images/")


def test_an_incomplete_picture_is_saved_where_the_settings_say_so(page: Page, webui: WebUI, outputs: Path) -> None:
    options = f"{webui.url}/sdapi/v1/options"
    httpx.post(options, json={"save_incomplete_images": True}).raise_for_status()
    try:
        before = {*outputs.rglob("*.png")}
        _slow_form(page, "saved as it is", 1)
        _drawing(page)
        page.click("#txt2img_interrupt")
        page.wait_for_function("() => !webui.busy()", timeout=20_000)
        expect(page.locator("#html_info_txt2img")).to_contain_text("Unfinished: ")
        expect(page.locator(LOG)).to_contain_text("interrupted")
        (new,) = {*outputs.rglob("*.png")} - before
        assert new.stem.endswith("-unfinished")
    finally:
        httpx.post(options, json={"save_incomplete_images": False})
    _quick_again(page)


def test_alt_enter_skips_and_escape_interrupts(page: Page) -> None:
    _slow_form(page, "by keys", 4)
    _drawing(page)
    page.locator("#txt2img_prompt textarea").press("Alt+Enter")
    page.wait_for_function(f"() => {_job(page, 'by keys')}.progress.batch === 2", timeout=20_000)
    page.keyboard.press("Escape")
    expect(page.locator("#txt2img_progress")).to_contain_text("the last one")
    page.keyboard.press("Escape")
    page.wait_for_function(f"() => {_job(page, 'by keys')}.state === 'cancelled'", timeout=20_000)
    # the first was skipped, the second interrupted
    assert page.evaluate(f"() => {_job(page, 'by keys')}.images.length") == 0
    _quick_again(page)
