"""Headless Chromium for the tests: the system's own, with nothing that would reach for a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; without an installed Chromium the test is skipped on a desk and fails in CI."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        message = "The page's tests need Chromium: install the package chromium."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    # Five seconds are Playwright's patience; two busy cores need more.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def open_page(page: Page, url: str, *, timeout: float = 60_000) -> None:
    """Open the program's page as a person finds it who looks before the first click: with the server's values of that moment."""
    page.goto(url)
    page.wait_for_selector("#txt2img_generate", timeout=timeout)
    settled(page)


def reload_page(page: Page) -> None:
    """Load the page anew, and wait as `open_page` does."""
    page.reload()
    page.wait_for_selector("#txt2img_generate")
    settled(page)


def settled(page: Page) -> None:
    """Wait for what a page that has just been opened is told by its server: the bar's values, the lists, the forms' defaults."""
    page.wait_for_function("() => ['txt2img', 'img2img'].every((tab) => window.webui?.form?.isSettled(tab))", timeout=60_000)


def fill(page: Page, elem_id: str, value: object) -> None:
    """Type `value` into the field of a Gradio control and leave it."""
    node = page.locator(f"#{elem_id} textarea, #{elem_id} input[type=number], #{elem_id} input[type=text]").first
    node.fill(str(value))
    node.dispatch_event("change")
    node.blur()


def choose(page: Page, elem_id: str, label: str) -> None:
    """Pick `label` in a Gradio dropdown; once more where new choices arrived meanwhile, which closes the list or ends its search."""
    node, choice = page.locator(f"#{elem_id} input").first, page.locator(f'ul[role=listbox] li[aria-label="{label}"]').first
    for patience in (5_000, 5_000, 20_000):
        node.click()
        node.fill(label)
        with suppress(TooLate):
            choice.click(timeout=patience)
            return
        node.press("Escape")
    raise AssertionError(f"{elem_id} offers no {label!r}")


def value_of(page: Page, elem_id: str) -> str:
    """What a Gradio control's field shows."""
    return page.locator(f"#{elem_id} textarea, #{elem_id} input[type=number], #{elem_id} input").first.input_value()


def generate(page: Page, tab: str = "txt2img") -> None:
    """Press Generate and wait for the finished picture."""
    known = page.evaluate("() => [...webui.jobs.keys()]")
    page.click(f"#{tab}_generate")
    new_is_done = "[...webui.jobs.values()].some((job) => job.state === 'done' && !known.includes(job.id))"
    page.wait_for_function(f"known => {new_is_done} && !webui.busy()", arg=known, timeout=120_000)
