"""The Extras tab as a person uses it: one picture, several, a folder; sent there from elsewhere and on to img2img."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from modules.imaging.files import encode_image
from tests.browser import choose, fill, generate, reload_page
from tests.drawn_faces import with_faces
from tests.gradio_ui.canvas_hand import gradient, saved
from tests.tiny_faces import write_restorer
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser

SOURCE = "a cat\nNegative prompt: fog\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 12, Size: 60x40"


def results(outputs: Path) -> set[Path]:
    return set((outputs / "extras-images").rglob("*.png"))


def new_result(page: Page, outputs: Path) -> Image.Image:
    before = results(outputs)
    generate(page, "extras")
    (new,) = results(outputs) - before
    return Image.open(new)


def with_parameters(folder: Path, name: str = "my cat.png", size: tuple[int, int] = (60, 40)) -> Path:
    path = folder / name
    path.write_bytes(encode_image(Image.new("RGB", size, "teal"), "png", SOURCE))
    return path


def open_tab(page: Page) -> None:
    page.locator("#tabs").get_by_role("tab", name="Extras", exact=True).first.click()
    page.locator("#extras_generate").wait_for()


def open_sub_tab(page: Page, name: str) -> None:
    page.locator("#mode_extras").get_by_role("tab", name=name, exact=True).first.click()


def put(page: Page, file: Path, shown: str) -> None:
    page.locator("#extras_image input[type=file]").set_input_files(str(file))
    expect(page.locator("#extras_image .well-status")).to_contain_text(shown)


def test_a_picture_is_saved_twice_as_large_with_its_parameters(page: Page, outputs: Path, tmp_path: Path) -> None:
    open_tab(page)
    put(page, with_parameters(tmp_path), "my cat.png · 60\u00d740")
    fill(page, "extras_upscaling_resize", 2)
    choose(page, "extras_upscaler_1", "Lanczos")
    expect(page.locator("#extras_resolution_preview")).to_contain_text("from 60x40 to 120x80")
    result = new_result(page, outputs)
    assert result.size == (120, 80)
    assert result.info == {"parameters": SOURCE, "extras": "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"}
    assert Path(result.filename).name == "my cat-0000.png"  # type: ignore[attr-defined]
    expect(page.locator("#html_info_extras")).to_contain_text("Seed: 12, Size: 60x40, Postprocess upscale by: 2")
    page.click("#extras_send_to_inpaint")
    expect(page.locator("#img2maskimg .canvas-status")).to_contain_text("120\u00d780")
    expect(page.locator("#img2img_prompt textarea")).to_have_value("a cat")


def test_scale_to_and_a_second_upscaler(page: Page, outputs: Path, tmp_path: Path) -> None:
    open_tab(page)
    expect(page.locator("#extras_upscaler_2_visibility input[type=number]")).to_be_disabled()
    put(page, with_parameters(tmp_path), "60\u00d740")
    page.locator("#extras_tabs_resize").get_by_text("Scale to", exact=True).click()
    page.locator("#extras_upscaling_resize_w input").wait_for()
    fill(page, "extras_upscaling_resize_w", 100)
    fill(page, "extras_upscaling_resize_h", 90)
    choose(page, "extras_upscaler_1", "Nearest")
    choose(page, "extras_upscaler_2", "Lanczos")
    expect(page.locator("#extras_upscaler_2_visibility input[type=number]")).to_be_enabled()
    fill(page, "extras_upscaler_2_visibility", 0.5)
    result = new_result(page, outputs)
    assert result.size == (100, 90)
    assert "crop to: 100x90, Postprocess upscaler: Nearest, Postprocess upscaler 2: Lanczos" in str(result.info["extras"])


def test_each_file_of_a_batch_is_a_job_and_a_bad_one_stops_none(page: Page, outputs: Path, tmp_path: Path) -> None:
    open_tab(page)
    open_sub_tab(page, "Batch Process")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing of the kind")
    files = [with_parameters(tmp_path, "one.png"), bad, with_parameters(tmp_path, "two.png", (30, 30))]
    page.locator("#extras_image_batch input[type=file]").set_input_files([str(file) for file in files])
    expect(page.locator("#extras_image_batch")).to_contain_text(re.compile("two"))
    choose(page, "extras_upscaler_1", "Nearest")
    before = results(outputs)
    page.click("#extras_generate")
    expect(page.locator(".webui-toast", has_text="bad.png: The picture can't be used")).to_be_visible()
    is_done = "[...webui.jobs.values()].filter((job) => job.state === 'done' && ['one.png', 'two.png'].includes(job.name)).length === 2"
    page.wait_for_function(f"() => {is_done}", timeout=120_000)
    assert {path.name for path in results(outputs) - before} == {"one-0000.png", "two-0000.png"}


def test_a_folder_is_enlarged_into_another(page: Page, outputs: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    for name in ("a.png", "b.png"):
        with_parameters(source, name)
    (target / "a.png").write_bytes(b"not ours")
    open_tab(page)
    open_sub_tab(page, "Batch from Directory")
    page.locator("#extras_batch_input_dir textarea").wait_for()
    fill(page, "extras_batch_input_dir", source)
    fill(page, "extras_batch_output_dir", tmp_path / "nowhere")
    choose(page, "extras_upscaler_1", "Nearest")
    page.wait_for_function("() => /Nearest/.test(localStorage.getItem('webui.form.v1.extras') || '')")
    page.click("#extras_generate")
    expect(page.locator(".webui-toast.error", has_text="there is no folder")).to_be_visible()
    fill(page, "extras_batch_output_dir", target)
    page.wait_for_function("(text) => (localStorage.getItem('webui.form.v1.extras') || '').includes(text)", arg=f'{target}"')
    page.click("#extras_generate")
    is_done = "[...webui.jobs.values()].filter((job) => job.state === 'done' && ['a.png', 'b.png'].includes(job.name)).length === 2"
    page.wait_for_function(f"() => {is_done}", timeout=120_000)
    assert sorted(path.name for path in target.iterdir()) == ["a-1.png", "a.png", "b.png"]
    assert (target / "a.png").read_bytes() == b"not ours"
    with Image.open(target / "b.png") as result:
        assert result.size == (240, 160) and result.info["parameters"] == SOURCE
    assert sorted(path.name for path in source.iterdir()) == ["a.png", "b.png"]


def test_pictures_are_sent_to_extras_with_their_name_and_stay_over_a_reload(
    page: Page, webui: WebUI, outputs: Path, tmp_path: Path
) -> None:
    for name, value in (("prompt", "a blue boat"), ("steps", 2), ("seed", 321), ("width", 64), ("height", 96)):
        fill(page, f"txt2img_{name}", value)
    generate(page)
    page.click("#txt2img_send_to_extras")
    status = page.locator("#extras_image .well-status")
    expect(status).to_have_text(re.compile(r"^\d+-321\.png · 64\u00d796$"))
    reload_page(page)
    open_tab(page)
    expect(status).to_have_text(re.compile(r"^\d+-321\.png · 64\u00d796$"))
    choose(page, "extras_upscaler_1", "Nearest")
    assert str(new_result(page, outputs).info["parameters"]).startswith("a blue boat\nSteps: 2")
    page.locator("#extras_image .well-remove").click()
    page.click("#extras_generate")
    expect(page.locator(".webui-toast.error", has_text="Choose a picture first")).to_be_visible()
    page.get_by_role("tab", name="Gallery").first.click()
    page.locator(".gallery-grid button").first.click()
    page.locator("dialog.webui-viewer").get_by_role("button", name="Extras").click()
    expect(status).to_contain_text("256\u00d7384")
    page.get_by_role("tab", name="PNG Info").first.click()
    page.locator("#pnginfo_image input[type=file]").set_input_files(str(with_parameters(tmp_path)))
    page.locator("#pnginfo_image img").wait_for()
    page.click("#pnginfo_send_to_extras")
    expect(status).to_contain_text("60\u00d740")


def test_a_file_that_is_no_picture_leaves_the_one_that_is_there(page: Page, tmp_path: Path) -> None:
    open_tab(page)
    put(page, saved(gradient(48), tmp_path), "48\u00d748")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing of the kind")
    page.locator("#extras_image input[type=file]").set_input_files(str(bad))
    expect(page.locator(".webui-toast.error", has_text="can't be used")).to_be_visible()
    choose(page, "extras_upscaler_1", "Nearest")
    fill(page, "extras_upscaling_resize", 2)
    generate(page, "extras")
    page.locator("#extras_results .reuse").click()
    expect(page.locator(".webui-toast.error", has_text="no generation parameters")).to_be_visible()
    expect(page.locator("#extras_image .well-status")).to_contain_text("48\u00d748")


def test_face_restoration_is_there_as_long_as_its_weights_are(page: Page, webui: WebUI, outputs: Path, tmp_path: Path) -> None:
    open_tab(page)
    sliders = {kind: page.locator(f"#extras_{kind}") for kind in ("gfpgan_visibility", "codeformer_visibility", "codeformer_weight")}
    assert [slider.count() and slider.is_visible() for slider in sliders.values()] == [0, 0, 0]
    weights = webui.data / "models" / "GFPGAN" / "RestoreFormer.pth"
    write_restorer(weights)
    try:
        page.click("#refresh_sd_model_checkpoint")
        expect(sliders["gfpgan_visibility"]).to_be_visible()
        expect(sliders["codeformer_visibility"]).to_be_hidden()
        face = tmp_path / "face.png"
        face.write_bytes(encode_image(Image.fromarray(with_faces((240, 200), (60, 40, 120))), "png"))
        put(page, face, "face.png")
        fill(page, "extras_gfpgan_visibility", 0.75)
        assert new_result(page, outputs).info["extras"] == "GFPGAN visibility: 0.75"
        reload_page(page)
        open_tab(page)
        expect(page.locator("#extras_gfpgan_visibility input[type=number]")).to_have_value("0.75")
    finally:
        weights.unlink()
    page.click("#refresh_sd_model_checkpoint")
    expect(sliders["gfpgan_visibility"]).to_be_hidden()
    assert "extras" not in new_result(page, outputs).info, "what nobody sees any more is not asked for"


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    reload_page(page)
    page.evaluate("() => webui.openTab('Extras')")
    page.locator("#extras_generate").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
