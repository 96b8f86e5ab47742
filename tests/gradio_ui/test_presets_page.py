"""Presets on the page: the form under a name, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.browser import choose, fill, open_page, reload_page, value_of
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser


def test_a_form_is_kept_under_a_name_and_brought_back(page: Page, webui: WebUI) -> None:
    told = page.locator(".webui-toast")
    expect(page.locator("#txt2img_cfg_scale input[type=number]")).to_have_value("4")  # the form has what suits the checkpoint
    fill(page, "txt2img_prompt", "a cat")
    fill(page, "txt2img_steps", 33)
    fill(page, "txt2img_seed", 77)
    fill(page, "txt2img_width", 192)
    choose(page, "txt2img_sampling", "Euler a")
    page.locator("#txt2img_hr-checkbox input, #txt2img_hr input[type=checkbox]").first.check()
    page.click("#txt2img_presets_button")
    page.locator("#txt2img_preset input").fill("wide")
    page.locator("#txt2img_preset input").blur()
    page.click("#txt2img_preset_save")
    expect(told.filter(has_text="Preset wide saved: it sets 6 controls")).to_be_visible()
    kept = yaml.safe_load((webui.data / "presets.yaml").read_text())["txt2img"]["wide"]
    assert kept["txt2img_steps"] == 33 and kept["txt2img_width"] == 192 and kept["txt2img_sampling"] == "Euler a"
    assert not {"txt2img_prompt", "txt2img_seed"} & set(kept)

    fill(page, "txt2img_prompt", "a dog")
    fill(page, "txt2img_steps", 5)
    fill(page, "txt2img_seed", 78)
    fill(page, "txt2img_cfg_scale", 9)
    choose(page, "txt2img_sampling", "DDIM")
    reload_page(page)
    page.click("#txt2img_presets_button")
    choose(page, "txt2img_preset", "wide")
    assert value_of(page, "txt2img_steps") == "5", "nothing happens before Use is pressed"
    page.click("#txt2img_preset_use")
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("33")
    expect(page.locator("#txt2img_sampling input").first).to_have_value("Euler a")
    shown = {name: value_of(page, f"txt2img_{name}") for name in ("prompt", "width", "cfg_scale", "seed")}
    assert shown == {"prompt": "a dog", "width": "192", "cfg_scale": "4", "seed": "78"}, "what it does not name is at its default"
    page.wait_for_function("() => (localStorage.getItem('webui.form.v1.txt2img') || '').includes('Euler a')")

    page.click("#txt2img_preset_delete")
    expect(told.filter(has_text="Preset wide deleted")).to_be_visible()
    page.click("#txt2img_preset_use")
    expect(told.filter(has_text="Choose a preset first")).to_be_visible()
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("33")


def test_a_preset_without_a_name_is_refused_and_changes_nothing(page: Page) -> None:
    page.evaluate("() => webui.openTab('img2img')")
    page.locator("#img2img_generate").wait_for()
    fill(page, "img2img_steps", 21)
    page.click("#img2img_presets_button")
    page.click("#img2img_preset_save")
    expect(page.locator(".webui-toast.error", has_text="needs a name")).to_be_visible()
    expect(page.locator("#img2img_steps input[type=number]")).to_have_value("21")


def test_what_a_preset_names_and_is_gone_is_told(browser: Browser, tmp_path: Path) -> None:
    old = {"txt2img_steps": 31, "txt2img_sampling": "Bygone", "txt2img_once": 1, "txt2img_override_settings": ["Clip skip: 2"]}
    (tmp_path / "presets.yaml").write_text(yaml.safe_dump({"txt2img": {"old": old}}))
    program = WebUI(tmp_path).start()
    try:
        page = browser.new_page()
        open_page(page, program.url)
        page.click("#txt2img_presets_button")
        choose(page, "txt2img_preset", "old")
        page.click("#txt2img_preset_use")
        expect(page.locator(".webui-toast", has_text="once (1), sampling (Bygone)")).to_be_visible()
        expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("31")
        expect(page.locator("#txt2img_sampling input").first).to_have_value("DPM++ 2M")
        expect(page.locator("#txt2img_override_settings")).to_contain_text("Clip skip: 2")
        page.close()
    finally:
        program.stop()
