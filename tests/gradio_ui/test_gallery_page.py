"""The Gallery tab in a real browser: searching, favourites, deleting."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import fill, generate, reload_page

pytestmark = pytest.mark.browser

TILES = "#gallery_panel .gallery-grid button"


def _drawn(page: Page, *prompts: str) -> None:
    for prompt in prompts:
        fill(page, "txt2img_prompt", prompt)
        for name, value in (("steps", 2), ("width", 64), ("height", 64)):
            fill(page, f"txt2img_{name}", value)
        generate(page)


def _search(page: Page, words: str) -> None:
    page.locator("#gallery_panel .gallery-search").fill(words)


def test_pictures_are_found_starred_and_deleted(page: Page, outputs: Path) -> None:
    _drawn(page, "quokka by the sea", "quokka in the snow", "a lamp")
    files = {*outputs.rglob("*.png")}
    page.get_by_role("tab", name="Gallery", exact=True).first.click()
    _search(page, "quok")
    expect(page.locator(TILES)).to_have_count(2)
    _search(page, "QUOKKA sea")
    expect(page.locator(TILES)).to_have_count(1)

    page.locator(TILES).click()
    page.keyboard.press("f")
    expect(page.locator(".viewer-star")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    _search(page, "")
    page.locator(".gallery-favourites").check()
    expect(page.locator(TILES)).to_have_count(1)
    reload_page(page)
    page.get_by_role("tab", name="Gallery", exact=True).first.click()
    _search(page, "quokka")
    expect(page.locator(TILES)).to_have_count(2)
    expect(page.locator(f"{TILES}[data-favourite]")).to_have_count(1)

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator(f"{TILES}[data-favourite]").click()
    page.locator(".viewer-delete").click()
    assert {*outputs.rglob("*.png")} == files, "what was not confirmed is not done"
    page.once("dialog", lambda dialog: dialog.accept())
    page.keyboard.press("Delete")
    expect(page.locator(TILES)).to_have_count(1)
    (gone,) = files - {*outputs.rglob("*.png")}
    assert gone.suffix == ".png"
    page.keyboard.press("Escape")
    _search(page, "quokka sea")
    expect(page.locator("#gallery_panel .gallery-empty")).to_have_text("No picture is like that.")
    page.get_by_role("tab", name="txt2img").first.click()
    assert page.evaluate("() => [...webui.jobs.values()].find((job) => job.prompt === 'quokka by the sea').images.length") == 0
