"""Scripts as a person uses them: chosen on the page, watched, found on the disk."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from modules.imaging.files import read_infotext
from tests.browser import choose, fill, reload_page, value_of
from tests.gradio_ui.canvas_hand import Hand, gradient, saved
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser


def _small(page: Page, prompt: str, steps: int = 2) -> None:
    for name, value in (("prompt", prompt), ("steps", steps), ("seed", 7), ("width", 64), ("height", 64)):
        fill(page, f"txt2img_{name}", value)


def _pick(page: Page, script: str, first: str, tab: str = "txt2img") -> None:
    choose(page, f"{tab}_script_container", script)
    page.wait_for_selector(f"#{first}")


def _run(page: Page, tab: str = "txt2img") -> None:
    """Press Generate and wait for the run's end; a short one may be over before anybody could see it run."""
    known = page.evaluate("() => webui.runs.all().map((run) => run.id)")
    page.click(f"#{tab}_generate")
    ended = "webui.runs.all().some((run) => !known.includes(run.id) && !run.active)"
    page.wait_for_function(f"known => {ended} && !webui.busy()", arg=known, timeout=180_000)


def _grids(outputs: Path) -> list[Path]:
    return sorted((outputs / "txt2img-grids").rglob("*.png"))


def _shown(page: Page, webui: WebUI) -> bytes:
    url = page.locator("#txt2img_gallery img.shown").get_attribute("src")
    return httpx.get(f"{webui.url}/{url}", timeout=20).content


def test_a_prompt_matrix_ends_as_a_grid_on_the_disk(page: Page, webui: WebUI, outputs: Path) -> None:
    before = _grids(outputs)
    _small(page, "a red apple|a blue ball|(green:1.5) grass")
    _pick(page, "Prompt matrix", "script_txt2img_prompt_matrix_put_at_start")
    page.locator("#script_txt2img_prompt_matrix_different_seeds input").check()
    _run(page)
    (grid,) = [path for path in _grids(outputs) if path not in before]
    picture = Image.open(grid)
    # four cells of 64 with words above and beside
    assert (picture.width, picture.height) == (2 * 64 + 48, picture.height)
    assert picture.height > 128
    assert "Script: Prompt matrix" in read_infotext(grid)
    assert _shown(page, webui) == grid.read_bytes()
    expect(page.locator("#txt2img_results .thumbs button")).to_have_count(5)
    pixels = np.asarray(picture.convert("RGB"))
    cells = [pixels[y : y + 64, x : x + 64] for y in (picture.height - 128, picture.height - 64) for x in (48, 112)]
    assert all((cells[0] != cell).any() for cell in cells[1:])
    expect(page.locator("#txt2img_results .run-tools")).to_contain_text("Prompt matrix: done")


def test_pausing_reloading_and_going_on(page: Page, outputs: Path) -> None:
    before = len(_grids(outputs))
    _small(page, "a cat|one|two|three", steps=60)
    _pick(page, "Prompt matrix", "script_txt2img_prompt_matrix_put_at_start")
    page.click("#txt2img_generate")
    page.locator("#txt2img_results .run-pause").click()
    expect(page.locator("#txt2img_progress .text")).to_contain_text("paused")
    page.wait_for_function("() => !webui.busy()", timeout=120_000)
    reload_page(page)
    expect(page.locator("#txt2img_results .run-resume")).to_be_visible()
    assert len(_grids(outputs)) == before
    page.locator("#txt2img_results .run-resume").click()
    expect(page.locator("#txt2img_results .run-tools")).to_contain_text("Prompt matrix: done", timeout=180_000)
    assert len(_grids(outputs)) == before + 1
    expect(page.locator("#txt2img_results .thumbs button")).to_have_count(9)


def test_interrupt_ends_the_whole_run(page: Page) -> None:
    _small(page, "a cat|one|two|three", steps=60)
    _pick(page, "Prompt matrix", "script_txt2img_prompt_matrix_put_at_start")
    page.click("#txt2img_generate")
    page.wait_for_selector("#txt2img_results .run-cancel")
    page.click("#txt2img_interrupt")
    expect(page.locator("#txt2img_results .run-tools")).to_contain_text("Prompt matrix: cancelled", timeout=120_000)
    page.wait_for_function("() => !webui.busy()", timeout=60_000)


def test_a_sweep_with_its_table_and_what_it_is_exported_as(page: Page, webui: WebUI) -> None:
    prefix = "script_txt2img_xyz_plot"
    _small(page, "a red apple")
    _pick(page, "X/Y/Z plot", f"{prefix}_x_type")
    choose(page, f"{prefix}_x_type", "Sampler")
    page.wait_for_selector(f"#{prefix}_x_values_dropdown")
    for sampler in ("Euler", "DDIM"):
        choose(page, f"{prefix}_x_values_dropdown", sampler)
    choose(page, f"{prefix}_y_type", "Steps")
    fill(page, f"{prefix}_y_values", "1-3")
    page.locator("#txt2img_script_container #xy_grid_swap_axes_button").click()
    page.wait_for_function(f"() => document.querySelector('#{prefix}_x_values textarea, #{prefix}_x_values input')?.value === '1-3'")
    _run(page)
    expect(page.locator("#txt2img_results .sheet th")).to_have_text(["", "Steps: 1", "Steps: 2", "Steps: 3", "Euler", "DDIM"])
    cells = page.locator("#txt2img_results .sheet td button")
    expect(cells).to_have_count(6)
    expect(page.locator("#txt2img_results .sheet-links a")).to_have_text(["Table as CSV", "Table as a page", "Grid as a picture"])
    cells.nth(4).click()
    expect(page.locator("#html_info_txt2img")).to_contain_text("Steps: 2, Sampler: DDIM")
    address = page.locator("#txt2img_results .sheet-links a").first.get_attribute("href")
    table = list(csv.reader(io.StringIO(httpx.get(f"{webui.url}/{address}", timeout=20).text)))
    assert table[0][:3] == ["X: Steps", "Y: Sampler", "File"]
    assert [row[:2] for row in table[1:]] == [[f"Steps: {n}", sampler] for sampler in ("Euler", "DDIM") for n in (1, 2, 3)]
    assert {row[table[0].index("Sampler")] for row in table[4:]} == {"DDIM"}
    text = httpx.get(f"{webui.url}/{address}".replace(".csv", ".html"), timeout=20).text
    assert text.count("data:image/jpeg;base64,") == 6
    # and the page remembers all of it
    reload_page(page)
    page.wait_for_selector(f"#{prefix}_y_values_dropdown")
    assert value_of(page, f"{prefix}_x_values") == "1-3"
    expect(page.locator(f"#{prefix}_y_values_dropdown")).to_contain_text("DDIM")


def test_what_is_wrong_is_said_and_nothing_is_drawn(page: Page) -> None:
    _small(page, "a red apple")
    _pick(page, "X/Y/Z plot", "script_txt2img_xyz_plot_x_type")
    fill(page, "script_txt2img_xyz_plot_x_values", "1-5, many")
    page.click("#txt2img_generate")
    expect(page.locator(".webui-toast.error")).to_contain_text("X/Y/Z plot, X: 'many' is not a whole number")
    assert not page.evaluate("() => webui.busy()")
    assert value_of(page, "script_txt2img_xyz_plot_x_values") == "1-5, many"


def test_a_file_of_prompts_goes_into_the_textbox(page: Page, tmp_path: Path, outputs: Path) -> None:
    prefix = "script_txt2img_prompts_from_file_or_textbox"
    lines = tmp_path / "prompts.txt"
    lines.write_text('a red apple\n--prompt "a blue ball" --steps 3 --width 128\n', "utf-8")
    _small(page, "")
    _pick(page, "Prompts from file or textbox", f"{prefix}_prompt_txt")
    page.locator(f"#{prefix}_file input[type=file]").set_input_files(lines)
    page.wait_for_function(f"() => document.querySelector('#{prefix}_prompt_txt textarea').value.includes('blue ball')")
    _run(page)
    first, second = sorted((outputs / "txt2img-images").rglob("*.png"))[-2:]
    assert (Image.open(first).size, Image.open(second).size) == ((64, 64), (128, 64))
    assert read_infotext(second).startswith("a blue ball\nSteps: 3")


def test_choices_in_a_prompt_become_pictures(page: Page, outputs: Path) -> None:
    prefix = "script_txt2img_dynamic_prompts"
    _small(page, "a {red|blue} {apple|ball}")
    _pick(page, "Dynamic prompts", f"{prefix}_mode")
    page.locator(f"#{prefix}_mode label", has_text="every combination").click()
    _run(page)
    made = sorted((outputs / "txt2img-images").rglob("*.png"))[-4:]
    prompts = [read_infotext(path).splitlines()[0] for path in made]
    assert prompts == ["a red apple", "a red ball", "a blue apple", "a blue ball"]
    fill(page, "txt2img_prompt", "a __nowhere__ cat")
    page.click("#txt2img_generate")
    expect(page.locator(".webui-toast.error")).to_contain_text("put wildcards/nowhere.txt there")
    assert value_of(page, "txt2img_prompt") == "a __nowhere__ cat"


def test_sd_upscale_from_the_canvas_to_one_large_picture(page: Page, tmp_path: Path, outputs: Path) -> None:
    before = set((outputs / "img2img-images").rglob("*.png"))
    hand = Hand(page, "img2img")
    hand.load(saved(gradient(96), tmp_path))
    for name, value in (("prompt", "a red apple"), ("steps", 4), ("width", 128), ("height", 128), ("denoising_strength", 0.3)):
        fill(page, f"img2img_{name}", value)
    _pick(page, "SD upscale", "script_sd_upscale_overlap", "img2img")
    fill(page, "script_sd_upscale_overlap", 32)
    _run(page, "img2img")
    (made,) = set((outputs / "img2img-images").rglob("*.png")) - before
    assert Image.open(made).size == (192, 192)
    assert "Script: SD upscale" in read_infotext(made)
    expect(page.locator("#html_info_img2img")).to_contain_text("SD upscale upscaler: Lanczos")
    expect(page.locator("#img2img_results .run-tools")).to_contain_text("SD upscale: done")


def test_a_filmstrip_moves(page: Page, outputs: Path) -> None:
    before = set((outputs / "txt2img-grids").rglob("*.*"))
    _small(page, "a red apple", steps=6)
    _pick(page, "Filmstrip", "script_txt2img_filmstrip_frames")
    fill(page, "script_txt2img_filmstrip_frames", 4)
    _run(page)
    strip, moving = sorted(set((outputs / "txt2img-grids").rglob("*.*")) - before, key=lambda path: path.suffix)
    assert (strip.suffix, moving.suffix) == (".png", ".webp")
    assert Image.open(strip).width == 5 * 64
    assert getattr(Image.open(moving), "n_frames", 1) > 1
    expect(page.locator("#txt2img_results .thumbs button")).to_have_count(3)


_HOLD = """
const send = window.fetch, start = new Promise((go) => { window.goOn = go; });
window.fetch = async (...call) => {
  if (String(call[0]?.url ?? call[0]).includes('/gradio_api/run/')) { window.isHeld = true; await start; }
  return send(...call);
};
"""
"""Holds what a page asks of its server through Gradio until `goOn()`."""


def test_defaults_that_arrive_late_leave_a_persons_choices_alone_and_are_not_remembered_before(page: Page) -> None:
    cfg = page.locator("#txt2img_cfg_scale input[type=number]")
    expect(cfg).to_have_value("4")
    page.evaluate("() => localStorage.clear()")
    page.add_init_script(_HOLD)
    page.reload()
    page.wait_for_function("() => window.isHeld")
    page.wait_for_function("() => window.webui?.form")
    expect(cfg).to_have_value("7")  # what the page is built with, not what suits the checkpoint
    choose(page, "txt2img_script_container", "Prompt matrix")
    page.locator("#txt2img_prompt textarea").fill("in a hurry")
    page.wait_for_function("() => webui.form.stored('txt2img', 'txt2img_prompt') === 'in a hurry'")
    page.reload()
    page.wait_for_function("() => window.isHeld")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("in a hurry")
    expect(cfg).to_have_value("7")
    page.evaluate("() => window.goOn()")
    expect(cfg).to_have_value("4")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("in a hurry")
    expect(page.locator("#txt2img_script_container input").first).to_have_value("Prompt matrix")
