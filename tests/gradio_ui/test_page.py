"""The page as a person uses it, in a real browser, with the starter checkpoint."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import choose, fill, generate, reload_page, value_of
from tests.webui_process import WebUI, wait_for

pytestmark = pytest.mark.browser


def _quick_form(page: Page, prompt: str = "a cat", steps: int = 3, seed: int = 7) -> None:
    fill(page, "txt2img_prompt", prompt)
    fill(page, "txt2img_steps", steps)
    fill(page, "txt2img_seed", seed)
    fill(page, "txt2img_width", 64)
    fill(page, "txt2img_height", 64)


def _pictures(outputs: Path) -> list[Path]:
    return sorted((outputs / "txt2img-images").rglob("*.png"))


def _shown(page: Page, webui: WebUI) -> bytes:
    url = page.locator("#txt2img_gallery img.shown").get_attribute("src")
    assert url and url.startswith("internal/images/")
    return httpx.get(f"{webui.url}/{url}").content


def test_a_prompt_gives_a_picture_on_the_page_and_on_disk(page: Page, webui: WebUI, outputs: Path) -> None:
    before = _pictures(outputs)
    expect(page.locator("#txt2img_cfg_scale input[type=number]")).to_have_value("4")  # what suits the checkpoint has arrived
    _quick_form(page, "a red apple", steps=4, seed=1234)
    generate(page)
    (new,) = [path for path in _pictures(outputs) if path not in before]
    assert re.fullmatch(r"\d{5}-1234\.png", new.name)
    assert _shown(page, webui) == new.read_bytes()
    picture = Image.open(new)
    assert picture.size == (64, 64)
    text = picture.info["parameters"]
    assert text.startswith(
        "a red apple\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4, Seed: 1234, Size: 64x64, Model hash: "
    )
    expect(page.locator("#html_info_txt2img")).to_contain_text("a red apple")
    expect(page.locator("#html_log_txt2img")).to_contain_text("Time taken")


def test_a_picture_dropped_on_the_prompt_gives_the_same_picture_again(page: Page, webui: WebUI, outputs: Path) -> None:
    _quick_form(page, "a dog, (blue:1.2) background", steps=3, seed=99)
    fill(page, "txt2img_neg_prompt", "cat")
    choose(page, "txt2img_sampling", "Euler a")
    generate(page)
    first = _pictures(outputs)[-1]
    for elem_id, other in (("prompt", "something else"), ("neg_prompt", ""), ("steps", 20), ("seed", 1), ("width", 128)):
        fill(page, f"txt2img_{elem_id}", other)
    choose(page, "txt2img_sampling", "Euler")
    page.evaluate(
        """async ([bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'picture.png', {type: 'image/png'}));
            document.querySelector('#txt2img_prompt textarea').dispatchEvent(new DragEvent('drop', {bubbles: true, dataTransfer: data}));
        }""",
        [list(first.read_bytes())],
    )
    page.wait_for_function("() => document.querySelector('#txt2img_seed input').value === '99'")
    assert value_of(page, "txt2img_prompt") == "a dog, (blue:1.2) background"
    assert value_of(page, "txt2img_neg_prompt") == "cat"
    assert value_of(page, "txt2img_sampling") == "Euler a"
    assert value_of(page, "txt2img_width") == "64"
    expect(page.locator("#txt2img_pasted summary")).to_have_text("Pasted parameters: Will give the same picture.")
    generate(page)
    again = Image.open(io.BytesIO(_shown(page, webui)))
    assert np.array_equal(np.asarray(again), np.asarray(Image.open(first)))


def test_a_batch_gives_all_pictures_and_a_grid(page: Page, outputs: Path) -> None:
    before = _pictures(outputs)
    _quick_form(page, "a fox", steps=2, seed=50)
    fill(page, "txt2img_batch_count", 2)
    fill(page, "txt2img_batch_size", 2)
    generate(page)
    new = [path for path in _pictures(outputs) if path not in before]
    assert [path.stem.split("-")[1] for path in new] == ["50", "51", "52", "53"]
    grids = sorted((outputs / "txt2img-grids").rglob("grid-*.png"))
    assert Image.open(grids[-1]).size == (128, 128)
    expect(page.locator("#txt2img_results .thumbs button")).to_have_count(5)
    fill(page, "txt2img_batch_count", 1)
    fill(page, "txt2img_batch_size", 1)


def test_a_style_is_made_used_and_written_into_the_prompt(page: Page, webui: WebUI, outputs: Path) -> None:
    _quick_form(page, "a cat", steps=1, seed=4)
    page.click("#txt2img_styles_edit_button")
    name = page.locator("#txt2img_edit_style_select input").first
    name.fill("Night")
    name.press("Enter")
    fill(page, "txt2img_edit_style_prompt", "{prompt} on a black background")
    fill(page, "txt2img_edit_style_neg_prompt", "sun")
    page.click("#txt2img_edit_style_save")
    expect(page.locator(".webui-toast", has_text="Style Night saved")).to_be_visible()
    assert "Night,{prompt} on a black background,sun" in (webui.data / "styles.csv").read_text()
    choice = page.locator("#txt2img_styles input").first
    choice.click()
    page.locator("ul[role=listbox] li", has_text="Night").first.click()
    choice.press("Escape")
    generate(page)
    text = Image.open(_pictures(outputs)[-1]).info["parameters"]
    assert text.startswith("a cat on a black background\nNegative prompt: sun\n")
    assert value_of(page, "txt2img_prompt") == "a cat", "the prompt itself stays as it was typed"
    page.click("#txt2img_style_apply")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a cat on a black background")
    fill(page, "txt2img_neg_prompt", "")
    page.get_by_role("tab", name="img2img").click()
    choose(page, "img2img_styles", "Night")


def test_hires_fix_unfolds_says_the_size_and_draws_it(page: Page, outputs: Path) -> None:
    _quick_form(page, "a red apple", steps=2, seed=8)
    page.locator("#txt2img_hr input[type=checkbox]").check()
    fill(page, "txt2img_hr_scale", 1.5)
    expect(page.locator("#txt2img_hires_size")).to_contain_text("from 64x64 to 96x96")
    choose(page, "txt2img_hr_upscaler", "Latent (bicubic)")
    generate(page)
    picture = Image.open(_pictures(outputs)[-1])
    assert picture.size == (96, 96)
    assert "Hires upscale: 1.5, Hires upscaler: Latent (bicubic)" in picture.info["parameters"]
    page.locator("#txt2img_hr input[type=checkbox]").uncheck()
    expect(page.locator("#txt2img_hr_scale")).to_be_hidden()


def test_a_reload_in_mid_generation_finds_prompt_progress_and_result(page: Page) -> None:
    _quick_form(page, "a rocket in the night", steps=150, seed=3)
    fill(page, "txt2img_batch_count", 4)
    page.click("#txt2img_generate")
    page.wait_for_function("() => /step [0-9]+/.test(document.querySelector('#txt2img_progress').textContent)", timeout=60_000)
    reload_page(page)
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a rocket in the night")
    page.wait_for_function("() => /step [0-9]+/.test(document.querySelector('#txt2img_progress').textContent)", timeout=20_000)
    page.wait_for_function(
        "() => [...webui.jobs.values()].some((job) => job.prompt === 'a rocket in the night' && job.images.length)", timeout=120_000
    )
    expect(page.locator("#txt2img_gallery img.shown")).to_be_visible()
    fill(page, "txt2img_batch_count", 1)


def test_all_that_wait_are_cancelled_with_one_click_and_what_is_drawn_goes_on(page: Page) -> None:
    _quick_form(page, "being drawn", steps=150)
    fill(page, "txt2img_batch_count", 8)
    page.click("#txt2img_generate")
    page.wait_for_function("() => webui.busy()")
    for number in (1, 2, 3):
        fill(page, "txt2img_prompt", f"waits {number}")
        page.wait_for_function("(text) => webui.form.stored('txt2img', 'txt2img_prompt') === text", arg=f"waits {number}")
        page.click("#txt2img_generate")
        page.wait_for_function("(n) => [...webui.jobs.values()].filter((job) => job.prompt.startsWith('waits')).length === n", arg=number)
    page.locator("#txt2img_queue summary").click()
    page.locator("#txt2img_queue").get_by_text("Cancel all that wait").click()
    states = "[...webui.jobs.values()].filter((job) => job.prompt.startsWith('{}')).map((job) => job.state).join()"
    page.wait_for_function(f"() => {states.format('waits')} === 'cancelled,cancelled,cancelled'")
    assert page.evaluate(f"() => {states.format('being drawn')}") == "running"
    page.keyboard.press("Escape")
    page.wait_for_function("() => !webui.busy()", timeout=60_000)
    fill(page, "txt2img_batch_count", 1)


def test_clicking_again_queues_and_a_waiting_job_can_be_cancelled(page: Page) -> None:
    _quick_form(page, "first in line", steps=150)
    fill(page, "txt2img_batch_count", 4)
    page.click("#txt2img_generate")
    page.wait_for_function("() => webui.busy()")
    fill(page, "txt2img_prompt", "second in line")
    page.wait_for_timeout(300)
    page.click("#txt2img_generate")
    page.wait_for_function("() => [...webui.jobs.values()].filter((job) => ['queued', 'running'].includes(job.state)).length === 2")
    page.locator("#txt2img_queue summary").click()
    page.locator("#txt2img_queue li", has_text="second in line").get_by_title("Cancel").click()
    page.wait_for_function("() => [...webui.jobs.values()].some((job) => job.prompt === 'second in line' && job.state === 'cancelled')")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !webui.busy()", timeout=60_000)
    fill(page, "txt2img_batch_count", 1)


def test_a_wrong_value_is_told_and_loses_nothing(page: Page) -> None:
    _quick_form(page, "keep me")
    fill(page, "txt2img_seed", "")
    page.click("#txt2img_generate")
    expect(page.locator(".webui-toast", has_text="Seed is empty")).to_be_visible()
    assert value_of(page, "txt2img_prompt") == "keep me"
    fill(page, "txt2img_seed", 7)


def test_ctrl_enter_generates(page: Page, outputs: Path) -> None:
    before = len(_pictures(outputs))
    _quick_form(page, "typed", steps=2, seed=5)
    page.locator("#txt2img_prompt textarea").focus()
    page.keyboard.press("Control+Enter")
    wait_for(lambda: len(_pictures(outputs)) > before, 60, "the picture")
    page.wait_for_function("() => !webui.busy()")


@pytest.mark.parametrize(
    ("text", "start", "end", "up", "expected"),
    [
        ("a cat here", 3, 3, True, "a (cat:1.1) here"),
        ("a (cat:1.1) here", 3, 6, True, "a (cat:1.2) here"),
        ("a (cat:1.1) here", 4, 4, False, "a cat here"),
        ("red fox", 0, 7, False, "(red fox:0.9)"),
        ("x <lora:ink:0.8> y", 5, 5, True, "x <lora:ink:0.85> y"),
        ("", 0, 0, True, ""),
    ],
)
def test_ctrl_up_and_down_weigh_words(page: Page, text: str, start: int, end: int, up: bool, expected: str) -> None:
    area = page.locator("#txt2img_prompt textarea")
    area.fill(text)
    area.evaluate(f"node => {{ node.focus(); node.setSelectionRange({start}, {end}); }}")
    page.keyboard.press("Control+ArrowUp" if up else "Control+ArrowDown")
    assert area.input_value() == expected


def test_the_token_counter_counts(page: Page) -> None:
    fill(page, "txt2img_prompt", "a red fox, " * 30)
    expect(page.locator("#txt2img_token_counter")).to_have_text(re.compile(r"1\d\d/150"))


def test_the_form_is_remembered(page: Page) -> None:
    _quick_form(page, "remember this", steps=33, seed=4711)
    choose(page, "txt2img_scheduler", "Uniform")
    page.wait_for_function("() => (localStorage.getItem('webui.form.v1.txt2img') || '').includes('4711')")
    reload_page(page)
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("remember this")
    expect(page.locator("#txt2img_seed input")).to_have_value("4711")
    expect(page.locator("#txt2img_scheduler input").first).to_have_value("Uniform")
    choose(page, "txt2img_scheduler", "Automatic")


def test_a_setting_is_saved_and_survives(page: Page, webui: WebUI) -> None:
    page.get_by_role("tab", name="Settings").first.click()
    page.locator("#settings_submit").wait_for()
    fill(page, "settings_search", "preview every")
    page.get_by_role("button", name="Show a new preview every N steps").click()
    expect(page.locator("#settings_show_progress_every_n_steps")).to_be_in_viewport()
    fill(page, "settings_search", "jpeg")
    page.get_by_role("button", name="Quality for saved jpeg").click()
    quality = page.locator("#settings_jpeg_quality input[type=number]")
    expect(quality).to_be_visible()
    quality.fill("91")
    quality.blur()
    page.click("#settings_submit")
    expect(page.locator("#settings_result")).to_contain_text("1 settings changed: Quality for saved jpeg")
    assert "jpeg_quality: 91" in (webui.data / "config.yaml").read_text()
    reload_page(page)
    page.get_by_role("tab", name="Settings").first.click()
    expect(page.locator("#settings_jpeg_quality input[type=number]")).to_have_value("91")


def test_the_form_as_it_is_becomes_the_default(page: Page, webui: WebUI) -> None:
    _quick_form(page, "", steps=17, seed=-1)
    page.get_by_role("tab", name="Settings").first.click()
    page.get_by_role("tab", name="Defaults").first.click()
    page.click("#ui_defaults_view")
    expect(page.locator("#ui_defaults_review")).to_contain_text("txt2img_steps")
    page.click("#ui_defaults_apply")
    expect(page.locator("#ui_defaults_review")).to_contain_text("is the default")
    assert "txt2img_steps: 17" in (webui.data / "ui-defaults.yaml").read_text()
    page.evaluate("() => localStorage.clear()")
    reload_page(page)
    expect(page.locator("#txt2img_steps input[type=number]")).to_have_value("17")
    page.get_by_role("tab", name="Settings").first.click()
    page.get_by_role("tab", name="Defaults").first.click()
    page.click("#ui_defaults_clear")
    expect(page.locator("#ui_defaults_review")).to_contain_text("built-in defaults are back")


def test_png_info_shows_the_parameters_and_sends_them(page: Page, outputs: Path) -> None:
    _quick_form(page, "a house on a hill", steps=2, seed=321)
    generate(page)
    page.get_by_role("tab", name="PNG Info").first.click()
    page.locator("#pnginfo_image input[type=file]").set_input_files(str(_pictures(outputs)[-1]))
    expect(page.locator("#pnginfo_parameters textarea")).to_have_value(re.compile("a house on a hill\nSteps: 2"))
    page.locator("#pnginfo_report summary").click()
    expect(page.locator("#pnginfo_report details")).to_contain_text("the same file, by its hash")
    page.get_by_role("tab", name="txt2img").first.click()
    fill(page, "txt2img_prompt", "changed")
    page.get_by_role("tab", name="PNG Info").first.click()
    page.click("#pnginfo_send_to_txt2img")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a house on a hill")


def test_the_gallery_tab_lists_what_was_made(page: Page) -> None:
    _quick_form(page, "for the gallery", steps=1)
    generate(page)
    page.get_by_role("tab", name="Gallery").first.click()
    first = page.locator(".gallery-grid button").first
    expect(first).to_be_visible()
    assert "for the gallery" in (first.get_attribute("title") or "")
    first.click()
    expect(page.locator("dialog.webui-viewer img")).to_be_visible()


def test_a_phone_sees_no_sideways_scroll(page: Page, webui: WebUI) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    expect(page.locator("#txt2img_generate")).to_be_in_viewport()


def test_prompts_are_shown_as_text_never_as_markup(page: Page) -> None:
    _quick_form(page, '<img src=x onerror="window.__pwned=1"> <script>window.__pwned=1</script> {{7*7}} ${7*7}', steps=1)
    generate(page)
    page.get_by_role("tab", name="Gallery").first.click()
    page.locator(".gallery-grid button").first.wait_for()
    assert page.evaluate("() => window.__pwned") is None


def test_no_route_hands_out_a_file_of_the_server(page: Page, webui: WebUI) -> None:
    """The hole of mounted Gradio apps: a File value with a server path, sent to the PNG Info event."""
    config = httpx.get(f"{webui.url}/config").json()
    event = next(
        dependency["id"]
        for dependency in config["dependencies"]
        if any(target[1] == "change" for target in dependency["targets"])
        and any(component["id"] in dependency["inputs"] and component["type"] == "image" for component in config["components"])
    )
    payload = {"fn_index": event, "data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "session_hash": "x"}
    answer = httpx.post(f"{webui.url}/gradio_api/run/predict", json=payload)
    assert "root:" not in answer.text
    assert answer.status_code >= 400 or "error" in json.loads(answer.text)


def test_the_footer_says_when_the_engine_is_ready_again(page: Page) -> None:
    fill(page, "txt2img_prompt", "a cat")
    fill(page, "txt2img_steps", 3)
    generate(page)
    expect(page.locator("#footer")).to_contain_text("ready")
