"""What the form does with what comes from elsewhere: pasted settings, sizes beyond a slider's end, keys that are held down."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import choose, fill, generate, reload_page, value_of
from tests.webui_process import WebUI, wait_for

pytestmark = pytest.mark.browser

SMALL = "Steps: 2, Sampler: Euler a, CFG scale: 4, Seed: 5, Size: 64x64"


def _paste(page: Page, text: str) -> None:
    """Paste, and wait for the prompt."""
    page.evaluate("text => webui.form.paste('txt2img', text)", text)
    expect(page.locator("#txt2img_prompt textarea")).to_have_value(text.partition("\n")[0])


def test_a_size_beyond_the_slider_is_drawn_or_refused_with_a_sentence(page: Page) -> None:
    fill(page, "txt2img_prompt", "very wide")
    _paste(page, "very wide\nSteps: 1, Sampler: Euler a, Seed: 1, Size: 2112x64, CFG scale: 4")
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("2112")
    generate(page)
    expect(page.locator("#html_info_txt2img")).to_contain_text("Size: 2112x64")
    _paste(page, "very wide\nSteps: 1, Sampler: Euler a, Seed: 1, Size: 20000x64, CFG scale: 4")
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("20000")
    page.click("#txt2img_generate")
    expect(page.locator(".webui-toast.error", has_text="Width")).to_be_visible()
    _paste(page, f"very wide\n{SMALL}")
    expect(page.locator("#txt2img_width input[type=number]")).to_have_value("64")


def test_overrides_are_seen_as_long_as_they_act(page: Page) -> None:
    _paste(page, f"a cat\n{SMALL}, Clip skip: 2")
    box = page.locator("#txt2img_override_settings")
    expect(box).to_contain_text("Clip skip: 2")
    page.wait_for_function("() => (localStorage.getItem('webui.form.v1.txt2img') || '').includes('Clip skip: 2')")
    reload_page(page)
    expect(box).to_contain_text("Clip skip: 2")
    generate(page)
    expect(page.locator("#html_info_txt2img")).to_contain_text("Clip skip: 2")
    _paste(page, f"a cat\n{SMALL}")
    expect(box).to_be_hidden()
    page.wait_for_function("() => !(localStorage.getItem('webui.form.v1.txt2img') || '').includes('Clip skip: 2')")
    reload_page(page)
    expect(box).to_be_hidden()


def test_pasting_a_picture_takes_its_styles_apart(page: Page, webui: WebUI) -> None:
    styles = webui.data / "styles.csv"
    before = styles.read_text() if styles.is_file() else "name,prompt,negative_prompt\n"
    styles.write_text(f'{before.rstrip()}\nMended style,"oil on paper",\n')
    reload_page(page)
    fill(page, "txt2img_prompt", "a mended cat")
    for name, value in (("steps", 2), ("width", 64), ("height", 64)):
        fill(page, f"txt2img_{name}", value)
    choose(page, "txt2img_styles", "Mended style")
    generate(page)
    for _ in range(2):
        expect(page.locator("#html_info_txt2img")).to_contain_text("a mended cat, oil on paper")
        assert page.locator("#html_info_txt2img").inner_text().count("oil on paper") == 1
        page.locator(".output-panel[data-tab=txt2img] .reuse").click()
        page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea').value === 'a mended cat'")
        expect(page.locator("#txt2img_styles")).to_contain_text("Mended style")
        generate(page)
    _paste(page, f"a plain cat\n{SMALL}")
    page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea').value === 'a plain cat'")
    expect(page.locator("#txt2img_styles")).not_to_contain_text("Mended style")


def test_a_key_that_is_held_down_acts_once(page: Page) -> None:
    _paste(page, f"held down\n{SMALL}")
    page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea').value === 'held down'")
    page.locator("#txt2img_prompt textarea").focus()
    page.keyboard.down("Control")
    for _ in range(6):
        page.keyboard.down("Enter")  # all but the first are repeats
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    page.wait_for_function("() => [...webui.jobs.values()].some((job) => job.prompt === 'held down') && !webui.busy()", timeout=60_000)
    assert page.evaluate("() => [...webui.jobs.values()].filter((job) => job.prompt === 'held down').length") == 1


def test_the_viewer_has_no_button_under_the_space_bar_and_says_what_fails(page: Page, webui: WebUI) -> None:
    _paste(page, f"looked at\n{SMALL}")
    page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea').value === 'looked at'")
    generate(page)
    fill(page, "txt2img_prompt", "not to be lost")
    page.locator("#txt2img_gallery").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog.webui-viewer")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("Control+f")
    expect(page.locator("dialog.webui-viewer")).to_be_visible()
    expect(page.locator(".viewer-star")).to_have_attribute("aria-pressed", "false")
    assert value_of(page, "txt2img_prompt") == "not to be lost"
    shown = page.locator("dialog.webui-viewer > img").get_attribute("src")
    assert shown is not None
    httpx.post(f"{webui.url}/{shown}/delete", headers={"Origin": webui.url}).raise_for_status()  # as in another window
    page.keyboard.press("f")
    expect(page.locator("dialog.webui-viewer .webui-toast.error", has_text="There is no such picture.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.webui-viewer")).to_be_hidden()


def test_the_queue_is_listed_in_the_order_in_which_it_is_drawn(page: Page, webui: WebUI) -> None:
    _paste(page, f"in front\n{SMALL.replace('Steps: 2', 'Steps: 150').replace('64x64', '256x256')}")
    page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea').value === 'in front'")
    page.click("#txt2img_generate")
    page.wait_for_function("() => webui.busy()")
    for name in ("second", "third"):
        fill(page, "txt2img_prompt", name)
        page.wait_for_function("(text) => webui.form.stored('txt2img', 'txt2img_prompt') === text", arg=name)
        page.click("#txt2img_generate")
        page.wait_for_function("(name) => [...webui.jobs.values()].some((job) => job.prompt === name)", arg=name)
    page.locator("#txt2img_queue summary").click()
    names = page.locator("#txt2img_queue .job-name")
    expect(names).to_have_text(["▶ in front", "second", "third"])
    page.locator("#txt2img_queue li", has_text="third").get_by_role("button", name="Run next").click()
    expect(names).to_have_text(["▶ in front", "third", "second"])
    httpx.post(f"{webui.url}/internal/jobs/clear")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !webui.busy()", timeout=60_000)


def test_an_open_page_keeps_no_connection_busy(page: Page, webui: WebUI) -> None:
    kept: list[str] = []
    page.on("request", lambda request: kept.append(request.url) if "heartbeat" in request.url or request.url.endswith("/stream") else None)
    reload_page(page)
    page.wait_for_timeout(1500)
    assert kept == []


def test_a_slider_of_the_bar_that_is_moved_by_keys_is_stored(page: Page, webui: WebUI) -> None:
    slider = page.locator("#quicksettings input[type=range]").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    options = f"{webui.url}/sdapi/v1/options"
    wait_for(lambda: httpx.get(options).json()["CLIP_stop_at_last_layers"] == 2, 20, "the stored setting")
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: httpx.get(options).json()["CLIP_stop_at_last_layers"] == 1, 20, "the stored setting")
