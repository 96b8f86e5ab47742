"""What the forms show at first, and what choosing another checkpoint makes of it."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.webui_process import ROOT, WebUI

pytestmark = pytest.mark.browser


def test_size_and_guidance_are_what_suits_the_checkpoint(page: Page, webui: WebUI) -> None:
    shown = [f"{tab}_{name}" for name in ("width", "height", "cfg_scale") for tab in ("txt2img", "img2img")]

    def form() -> list[str]:
        return [page.locator(f"#{elem_id} input[type=number]").input_value() for elem_id in shown]

    page.evaluate("() => webui.openTab('img2img')")  # its controls are made when it is first opened
    page.locator("#img2img_generate").wait_for()
    expect(page.locator("#img2img_cfg_scale input[type=number]")).to_have_value("4")
    assert form() == ["128", "128", "128", "128", "4", "4"]
    page.get_by_role("tab", name="Settings").first.click()
    page.get_by_role("tab", name="Defaults").first.click()
    page.click("#ui_defaults_view")
    expect(page.locator("#ui_defaults_review")).to_contain_text("The form shows the defaults.")
    folder = webui.data / "models" / "Stable-diffusion"
    added = [folder / "another.safetensors", folder / "another.yaml"]
    starter = ROOT / "models" / "Stable-diffusion" / "starter.safetensors"
    try:
        added[0].symlink_to(starter)
        config = starter.with_suffix(".yaml").read_text()
        added[1].write_text(config.replace("suits:", "once_suited:").replace("image_size: 16", "image_size: 24"))
        page.click("#refresh_sd_model_checkpoint")
        page.locator("#setting_sd_model_checkpoint input").first.click()
        page.locator("ul[role=listbox] li", has_text="another.safetensors").first.click()  # its hash may stand behind it by now
        expect(page.locator("#img2img_cfg_scale input[type=number]")).to_have_value("7")
        assert form() == ["192", "128", "192", "128", "7", "7"]
        page.evaluate("() => webui.openTab('img2img')")
        page.locator("#img2img_cfg_scale input[type=number]").fill("")  # an empty field is no reason to fail
        page.locator("#setting_sd_model_checkpoint input").first.click()
        page.locator("ul[role=listbox] li", has_text="starter.safetensors").first.click()
        expect(page.locator("#txt2img_width input[type=number]")).to_have_value("128")
        page.locator("#setting_sd_model_checkpoint input").first.click()
        page.locator("ul[role=listbox] li", has_text="another.safetensors").first.click()
        expect(page.locator("#txt2img_width input[type=number]")).to_have_value("192")
        page.evaluate("() => webui.openTab('Settings')")
        page.click("#ui_defaults_reset")
        expect(page.locator("#img2img_width input[type=number]")).to_have_value("192")
        assert form() == ["192", "192", "192", "192", "7", "7"]
    finally:
        httpx.post(f"{webui.url}/sdapi/v1/options", json={"sd_model_checkpoint": "starter"}, timeout=60).raise_for_status()
        for path in added:
            path.unlink(missing_ok=True)
        page.click("#refresh_sd_model_checkpoint")
