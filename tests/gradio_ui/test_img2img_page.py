"""img2img as a person uses it: draws a mask, presses Generate, sends pictures around, and finds everything again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import fill, generate, open_page, reload_page, value_of
from tests.gradio_ui.canvas_hand import Hand, Pixels, gradient, saved
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(gradient(1024), tmp_path)


def _few_steps(page: Page, prompt: str = "a red apple", seed: int = 5) -> None:
    fill(page, "img2img_prompt", prompt)
    for name, value in (("steps", 3), ("seed", seed), ("width", 64), ("height", 64)):
        fill(page, f"img2img_{name}", value)


def _only_masked(page: Page) -> None:
    fill(page, "img2img_mask_blur", 0)
    page.locator("#img2img_inpaint_full_res").get_by_text("Only masked").click()
    page.wait_for_function("() => (localStorage.getItem('webui.form.v1.img2img') || '').includes('Only masked')")


def _results(outputs: Path) -> list[Path]:
    return sorted((outputs / "img2img-images").rglob("*.png"))


def _result(page: Page, outputs: Path) -> tuple[Image.Image, Pixels]:
    before = _results(outputs)
    generate(page, "img2img")
    (new,) = [path for path in _results(outputs) if path not in before]
    picture = Image.open(new)
    return picture, np.asarray(picture.convert("RGB"))


def _differs_inside_alone(result: Pixels, mask: Pixels) -> None:
    original = np.asarray(gradient(1024))
    outside, inside = mask == 0, mask == 255
    assert 0 < inside.sum() < outside.sum()
    assert np.array_equal(result[outside], original[outside]), "what is not masked stays bit by bit"
    assert (result[inside] != original[inside]).any(axis=-1).mean() > 0.9


def test_inpainting_changes_what_is_masked_and_nothing_else(page: Page, picture: Path, outputs: Path) -> None:
    hand = Hand(page)
    hand.load(picture)
    hand.set("size", 200)
    hand.stroke((400, 400), (600, 600))
    _few_steps(page)
    _only_masked(page)
    file, result = _result(page, outputs)
    _differs_inside_alone(result, hand.mask())
    text = file.info["parameters"]
    assert text.startswith("a red apple\nSteps: 3,") and "Denoising strength: 0.75" in text and "Inpaint area: Only masked" in text


@pytest.fixture
def phone(browser: Browser, webui: WebUI) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_page(page, webui.url)
    yield page
    context.close()


def test_inpainting_with_a_finger_on_a_phone(phone: Page, picture: Path, outputs: Path) -> None:
    hand = Hand(phone)
    hand.load(picture)
    hand.set("size", 200)
    hand.stage.scroll_into_view_if_needed()
    fingers = phone.context.new_cdp_session(phone)
    for kind, points in (("touchStart", [(400, 400)]), ("touchMove", [(500, 500)]), ("touchMove", [(600, 600)]), ("touchEnd", [])):
        places = [dict(zip("xy", hand.at(*point), strict=True)) for point in points]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    _few_steps(phone)
    _only_masked(phone)
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    _differs_inside_alone(_result(phone, outputs)[1], hand.mask())


def test_what_is_missing_is_told_and_nothing_is_queued(page: Page, picture: Path) -> None:
    hand = Hand(page)
    _few_steps(page)
    page.click("#img2img_generate")
    expect(page.locator(".webui-toast.error", has_text="Choose a picture first")).to_be_visible()
    hand.load(picture)
    page.click("#img2img_generate")
    expect(page.locator(".webui-toast.error", has_text="Nothing is masked: paint over what should change.")).to_be_visible()
    assert value_of(page, "img2img_prompt") == "a red apple"
    assert not page.evaluate("() => webui.busy()")


def test_a_sketch_is_what_is_drawn_from(page: Page, picture: Path, webui: WebUI, outputs: Path) -> None:
    hand = Hand(page, "Sketch")
    hand.load(picture)
    hand.set("size", 300)
    hand.set("colour", "#ff0000")
    hand.stroke((300, 300), (600, 600))
    painted = hand.picture()
    _few_steps(page)
    fill(page, "img2img_denoising_strength", 0)
    file, result = _result(page, outputs)
    assert file.size == (64, 64)
    small = np.asarray(Image.fromarray(painted).resize((64, 64))).astype(int)
    assert abs(result.astype(int) - small).mean() < 40, "with nothing denoised the result shows the sketch"
    assert result[28, 28, 0] > 150 and result[28, 28, 1] < 110


def test_painting_in_inpaint_sketch_is_picture_and_mask_at_once(page: Page, picture: Path, outputs: Path) -> None:
    hand = Hand(page, "Inpaint sketch")
    hand.load(picture)
    hand.set("size", 200)
    hand.set("softness", 0)
    hand.stroke((400, 400), (600, 600))
    _few_steps(page)
    _only_masked(page)
    _differs_inside_alone(_result(page, outputs)[1], hand.mask())


def test_a_mask_can_be_uploaded(page: Page, picture: Path, tmp_path: Path, outputs: Path) -> None:
    mask = Image.new("L", (1024, 1024), 0)
    mask.paste(255, (300, 300, 500, 500))
    page.locator("#tabs [role=tab]", has_text="img2img").first.click()
    page.locator("#mode_img2img").get_by_role("tab", name="Inpaint upload", exact=True).first.click()
    for slot, file in (("img_inpaint_base", picture), ("img_inpaint_mask", saved(mask, tmp_path, "mask.png"))):
        page.locator(f"#{slot} input[type=file]").set_input_files(str(file))
        expect(page.locator(f"#{slot} .canvas-status")).to_contain_text("1024")
    _few_steps(page)
    _only_masked(page)
    _differs_inside_alone(_result(page, outputs)[1], np.asarray(mask))


def test_a_result_goes_to_inpaint_with_prompt_seed_and_size_and_becomes_the_next_input(page: Page, webui: WebUI, picture: Path) -> None:
    for name, value in (("prompt", "a blue boat"), ("steps", 2), ("seed", 321), ("width", 64), ("height", 96)):
        fill(page, f"txt2img_{name}", value)
    generate(page)
    page.click("#txt2img_send_to_inpaint")
    expect(page.locator("#img2maskimg .canvas-status")).to_contain_text("64\u00d796")
    for name, shown in (("prompt", "a blue boat"), ("seed", "321"), ("width", "64"), ("height", "96")):
        expect(page.locator(f"#img2img_{name} textarea, #img2img_{name} input").first).to_have_value(shown)
    page.locator("#mode_img2img").get_by_role("tab", name="Sketch", exact=True).first.click()
    hand = Hand(page, "img2img")
    hand.load(picture)
    _few_steps(page)
    generate(page, "img2img")
    hand.key("u")
    page.wait_for_function("() => webui.canvas.slot('img2img_image').drawing.width === 64")
    hand.key("Control+z")
    assert hand.size == [1024, 1024]
    page.get_by_role("tab", name="Gallery").first.click()
    page.locator(".gallery-grid button").nth(1).click()
    page.locator("dialog.webui-viewer").get_by_role("button", name="img2img", exact=False).last.click()
    page.wait_for_function("() => webui.canvas.slot('img2img_image').drawing.height === 96")
    expect(page.locator("dialog.webui-viewer")).not_to_be_visible()


def test_pictures_can_be_copied_from_one_canvas_to_another(page: Page, picture: Path) -> None:
    hand = Hand(page, "Sketch")
    hand.load(picture)
    hand.set("size", 100)
    hand.stroke((200, 200), (400, 200))
    page.click("#img2img_copy_to_inpaint")
    expect(page.locator("#img2maskimg .canvas-status")).to_contain_text("1024\u00d71024")
    copied = hand.picture()
    hand.slot = "img2maskimg"
    assert np.array_equal(hand.picture(), copied)


def test_the_form_and_the_sub_tab_are_remembered(page: Page) -> None:
    Hand(page, "Inpaint")
    fill(page, "img2img_denoising_strength", 0.4)
    page.locator("#img2img_mask_mode").get_by_text("Inpaint not masked").click()
    page.wait_for_function("() => /Inpaint not masked/.test(localStorage.getItem('webui.form.v1.img2img') || '')")
    reload_page(page)
    page.locator("#tabs [role=tab]", has_text="img2img").first.click()
    expect(page.locator("#img2maskimg .canvas-stage")).to_be_visible()
    expect(page.locator("#img2img_denoising_strength input[type=number]")).to_have_value("0.4")
    expect(page.locator("#img2img_mask_mode").get_by_label("Inpaint not masked")).to_be_checked()


def test_pasted_parameters_fill_the_form(page: Page) -> None:
    Hand(page, "Inpaint")
    text = (
        "a green pear\nSteps: 7, Sampler: Euler a, Schedule type: Automatic, CFG scale: 4.5, Seed: 99, Size: 96x64, "
        "Denoising strength: 0.31, Mask blur: 9, Inpaint area: Only masked, Masked area padding: 48, "
        "Masked content: latent noise, Mask mode: Inpaint not masked"
    )
    fill(page, "img2img_prompt", text)
    page.click("#img2img_paste")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("a green pear")
    for name, shown in (("steps", "7"), ("denoising_strength", "0.31"), ("mask_blur", "9"), ("inpaint_full_res_padding", "48")):
        expect(page.locator(f"#img2img_{name} input[type=number]")).to_have_value(shown)
    for elem_id, label in (("inpaint_full_res", "Only masked"), ("inpainting_fill", "latent noise"), ("mask_mode", "Inpaint not masked")):
        expect(page.locator(f"#img2img_{elem_id}").get_by_label(label, exact=True)).to_be_checked()


def test_a_batch_is_a_job_for_each_file_and_does_none_twice(page: Page, webui: WebUI, tmp_path: Path) -> None:
    Hand(page, "img2img")
    page.locator("#mode_img2img").get_by_role("tab", name="Batch", exact=True).first.click()
    files = [str(saved(gradient(side), tmp_path, f"{side}.png")) for side in (64, 72)]
    page.locator("#img2img_batch_upload input[type=file]").set_input_files(files)
    expect(page.locator("#img2img_batch_upload")).to_contain_text(re.compile("72"))
    _few_steps(page, "one of a batch", seed=6)
    page.wait_for_function("() => JSON.parse(localStorage.getItem('webui.form.v1.img2img') || '{}').img2img_seed === 6")
    page.click("#img2img_generate")
    page.wait_for_function(
        "() => [...webui.jobs.values()].filter((job) => job.prompt === 'one of a batch' && job.state === 'done').length === 2",
        timeout=120_000,
    )
    page.click("#img2img_generate")
    expect(page.locator(".webui-toast.error", has_text="2 of 2 are done already")).to_be_visible()
    jobs = json.loads(httpx.get(f"{webui.url}/internal/jobs").text)["jobs"]
    assert sum(job["prompt"] == "one of a batch" for job in jobs) == 2


def test_interrupt_ends_the_whole_batch(page: Page, webui: WebUI, tmp_path: Path) -> None:
    Hand(page, "img2img")
    page.locator("#mode_img2img").get_by_role("tab", name="Batch", exact=True).first.click()
    files = [str(saved(gradient(side), tmp_path, f"{side}.png")) for side in (64, 72, 80)]
    page.locator("#img2img_batch_upload input[type=file]").set_input_files(files)
    expect(page.locator("#img2img_batch_upload")).to_contain_text(re.compile("80"))
    _few_steps(page, "a batch to be ended", seed=8)
    fill(page, "img2img_steps", 150)
    page.wait_for_function("() => JSON.parse(localStorage.getItem('webui.form.v1.img2img') || '{}').img2img_steps === 150")
    page.click("#img2img_generate")
    ours = "[...webui.jobs.values()].filter((job) => job.prompt === 'a batch to be ended')"
    page.wait_for_function(f"() => {ours}.length === 3 && {ours}.some((job) => job.state === 'running')", timeout=60_000)
    page.click("#img2img_interrupt")
    page.wait_for_function(f"() => {ours}.filter((job) => job.state === 'cancelled').length === 2", timeout=60_000)
    expect(page.locator("#img2img_progress")).to_contain_text("the last one")
    page.click("#img2img_interrupt")
    page.wait_for_function(f"() => {ours}.every((job) => job.state === 'cancelled')", timeout=60_000)


def test_png_info_sends_its_picture(page: Page, picture: Path) -> None:
    page.get_by_role("tab", name="PNG Info").first.click()
    page.locator("#pnginfo_image input[type=file]").set_input_files(str(picture))
    page.locator("#pnginfo_image img").wait_for()
    page.click("#pnginfo_send_to_img2img")
    expect(page.locator("#img2img_image .canvas-status")).to_contain_text("1024\u00d71024")
