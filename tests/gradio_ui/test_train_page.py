"""The Train tab as a person uses it: pictures become a word, with a curve and samples on the way, and the next prompt can use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import fill, generate, reload_page
from tests.engine.test_training import target
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser


def pictures(folder: Path) -> list[str]:
    paths = [folder / f"{number}.png" for number in range(3)]
    for path, side in zip(paths, (128, 112, 120), strict=True):
        target((150, 0, 160), side).save(path)
    return [str(path) for path in paths]


def open_tab(page: Page) -> None:
    page.locator("#tabs").get_by_role("tab", name="Train", exact=True).first.click()
    page.locator("#train_generate").wait_for()


def test_three_pictures_become_a_word(page: Page, webui: WebUI, tmp_path: Path) -> None:
    open_tab(page)
    page.locator("#train_files input[type=file]").set_input_files(pictures(tmp_path))
    expect(page.locator("#train_files tr")).to_have_count(3)
    fill(page, "train_new_name", "my-rings")
    fill(page, "train_width", 128)
    fill(page, "train_height", 128)
    fill(page, "train_steps", 12)
    fill(page, "train_sample_prompt", "a my-rings")
    fill(page, "train_create_image_every", 6)
    generate(page, "train")
    expect(page.locator("#train_results .loss-curve path.loss-mean")).to_be_visible()
    expect(page.locator("#train_results .loss-curve")).to_contain_text("12 steps")
    expect(page.locator("#train_results .thumbs button")).to_have_count(2)
    expect(page.locator("#html_log_train")).to_contain_text("write my-rings into a prompt")
    assert (webui.data / "embeddings" / "my-rings.safetensors").is_file()
    # the curve is there after a reload too, from what was written down
    reload_page(page)
    open_tab(page)
    expect(page.locator("#train_results .loss-curve path.loss-mean")).to_be_visible()
    page.locator("#tabs").get_by_role("tab", name="txt2img", exact=True).first.click()
    fill(page, "txt2img_prompt", "a my-rings")
    fill(page, "txt2img_steps", 2)
    generate(page)
    expect(page.locator("#html_info_txt2img")).to_contain_text("TI hashes: ")


def test_fields_of_the_other_kind_are_hidden_and_mistakes_are_said(page: Page) -> None:
    open_tab(page)
    expect(page.locator("#train_nvpt")).to_be_visible()
    page.locator("#train_goal").get_by_text("LoRA", exact=True).click()
    expect(page.locator("#train_rank")).to_be_visible()
    expect(page.locator("#train_nvpt")).to_be_hidden()
    fill(page, "train_new_name", "../x")
    page.click("#train_generate")
    expect(page.locator(".webui-toast.error").first).to_contain_text("without folders")
    fill(page, "train_new_name", "fine")
    page.click("#train_generate")
    expect(page.locator(".webui-toast.error", has_text="Choose pictures")).to_be_visible()
