"""Headless Chromium for the tests: the system's own, with nothing that would reach for a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

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


def fill(page: Page, elem_id: str, value: object) -> None:
    """Type `value` into the field of a Gradio control and leave it."""
    node = page.locator(f"#{elem_id} textarea, #{elem_id} input[type=number], #{elem_id} input[type=text]").first
    node.fill(str(value))
    node.dispatch_event("change")
    node.blur()


def choose(page: Page, elem_id: str, label: str) -> None:
    """Pick `label` in a Gradio dropdown."""
    node = page.locator(f"#{elem_id} input").first
    node.click()
    node.fill(label)
    page.locator("ul[role=listbox] li", has_text=label).first.wait_for()
    page.locator(f'ul[role=listbox] li[aria-label="{label}"]').first.click()


def value_of(page: Page, elem_id: str) -> str:
    """What a Gradio control's field shows."""
    return page.locator(f"#{elem_id} textarea, #{elem_id} input[type=number], #{elem_id} input").first.input_value()


def generate(page: Page, tab: str = "txt2img") -> None:
    """Press Generate and wait for the finished picture."""
    known = page.evaluate("() => [...webui.jobs.keys()]")
    page.click(f"#{tab}_generate")
    new_is_done = "[...webui.jobs.values()].some((job) => job.state === 'done' && !known.includes(job.id))"
    page.wait_for_function(f"known => {new_is_done} && !webui.busy()", arg=known, timeout=120_000)
