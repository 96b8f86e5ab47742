"""The Checkpoint Merger as a person uses it: two models merged, the result chosen, a picture drawn with it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import choose, fill, generate, open_page, reload_page, value_of
from tests.engine.test_merge_job import STARTER, perturbed
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def webui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    """A program of its own, since other tests count checkpoints and draw with the first one."""
    data = tmp_path_factory.mktemp("merging")
    models = data / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    perturbed(STARTER, models / "rough.safetensors")
    shutil.copy(STARTER.with_suffix(".yaml"), models / "rough.yaml")
    program = WebUI(data).start()
    yield program
    program.stop()


def open_tab(page: Page) -> None:
    page.locator("#tabs").get_by_role("tab", name="Checkpoint Merger", exact=True).first.click()
    page.locator("#modelmerger_merge").wait_for()


def merge(page: Page) -> None:
    known = page.evaluate("() => [...webui.jobs.keys()]")
    page.click("#modelmerger_merge")
    new_is_over = "[...webui.jobs.values()].some((job) => !['queued', 'running'].includes(job.state) && !known.includes(job.id))"
    page.wait_for_function(f"known => {new_is_over} && !webui.busy()", arg=known, timeout=120_000)


def test_two_models_become_one_that_draws(page: Page, webui: WebUI, outputs: Path) -> None:
    open_tab(page)
    choose(page, "modelmerger_primary_model_name", "starter.safetensors")
    choose(page, "modelmerger_secondary_model_name", "rough.safetensors")
    fill(page, "modelmerger_interp_amount", 0.4)
    expect(page.locator("#modelmerger_result_row")).to_be_hidden()
    merge(page)
    name = "0.6(starter) + 0.4(rough).safetensors"
    assert (webui.data / "models" / "Stable-diffusion" / name).is_file()
    expect(page.locator("#modelmerger_result")).to_contain_text(name)
    expect(page.locator("#modelmerger_results .performance")).to_contain_text(f"Saved as {name}")
    expect(page.locator("#modelmerger_results .stage")).to_be_hidden()
    bar = page.locator("#setting_sd_model_checkpoint input").first
    expect(bar).to_have_value(re.compile(r"^rough\.safetensors"))  # though the result is the first of the list now
    page.click("#modelmerger_use")
    expect(bar).to_have_value(re.compile(re.escape(name)))
    choose(page, "modelmerger_primary_model_name", name)
    page.locator("#tabs").get_by_role("tab", name="txt2img", exact=True).first.click()
    fill(page, "txt2img_steps", 4)
    for side in ("width", "height"):
        fill(page, f"txt2img_{side}", 64)
    generate(page)
    expect(page.locator("#txt2img_results .infotext")).to_contain_text("Model: 0.6(starter) + 0.4(rough)")
    assert list((outputs / "txt2img-images").rglob("*.png"))
    rows = httpx.get(f"{webui.url}/api/v1/jobs", timeout=20).json()["jobs"]
    assert [(row["name"], row["image_count"], row["images"]) for row in rows if row["name"]] == [(f"Merge: {name}", 0, [])]
    reload_page(page)
    open_tab(page)
    expect(page.locator("#modelmerger_result")).to_contain_text(name)
    assert value_of(page, "modelmerger_primary_model_name") == name, "the form is remembered"


def test_what_a_method_has_no_use_for_is_greyed_out(page: Page) -> None:
    open_tab(page)
    box, words = "#modelmerger_{}_model_name input", page.locator("#modelmerger_interp_description")
    expect(page.locator(box.format("tertiary"))).to_be_disabled()
    expect(words).to_contain_text("A * (1 - M) + B * M")
    page.locator("#modelmerger_interp_method").get_by_label("Add difference").check()
    expect(page.locator(box.format("tertiary"))).to_be_enabled()
    expect(words).to_contain_text("A + (B - C) * M")
    page.locator("#modelmerger_interp_method").get_by_label("No interpolation").check()
    expect(page.locator(box.format("secondary"))).to_be_disabled()
    expect(page.locator("#modelmerger_interp_amount input[type=number]")).to_be_disabled()
    expect(page.locator("#modelmerger_checkpoint_format input[value=ckpt]")).to_be_disabled()


def test_what_can_not_be_merged_is_said_and_nothing_is_lost(page: Page) -> None:
    open_tab(page)
    page.locator("#modelmerger_interp_method").get_by_label("No interpolation").check()
    choose(page, "modelmerger_primary_model_name", "rough.safetensors")
    fill(page, "modelmerger_custom_name", "a/b")
    page.click("#modelmerger_merge")
    expect(page.locator(".webui-toast.error").last).to_contain_text("can't hold '/'")
    fill(page, "modelmerger_custom_name", "rough")
    page.click("#modelmerger_merge")
    expect(page.locator(".webui-toast.error").last).to_contain_text("called rough.safetensors already")
    assert value_of(page, "modelmerger_custom_name") == "rough"
    fill(page, "modelmerger_custom_name", "<b>bold")
    page.click("#modelmerger_merge")
    expect(page.locator(".webui-toast.error").last).to_contain_text("can't hold '<'")


def test_who_comes_through_a_tunnel_may_not_merge(browser: Browser, webui: WebUI) -> None:
    context = browser.new_context(extra_http_headers={"X-Forwarded-For": "203.0.113.7"})
    tab = context.new_page()
    open_page(tab, webui.url)
    open_tab(tab)
    expect(tab.locator("#modelmerger_not_allowed")).to_contain_text("log in")
    expect(tab.locator("#modelmerger_merge")).to_be_disabled()
    config = tab.evaluate("() => fetch('config').then((answer) => answer.json())")
    button = next(each["id"] for each in config["components"] if each["props"].get("elem_id") == "modelmerger_merge")
    event = next(each for each in config["dependencies"] if [button, "click"] in [list(target) for target in each["targets"]])
    values = [next((c["props"].get("value") for c in config["components"] if c["id"] == each), None) for each in event["inputs"]]
    body = json.dumps({"data": values, "fn_index": event["id"], "session_hash": "x"})
    how = "{method: 'POST', headers: {'Content-Type': 'application/json'}, body}"
    send = f"body => fetch('gradio_api/run/predict', {how}).then((answer) => answer.text())"
    assert "sits at it or has logged in" in tab.evaluate(send, body)
    assert (
        tab.evaluate("() => fetch('internal/jobs').then((a) => a.json()).then((d) => d.jobs.filter((j) => j.state === 'running').length)")
        == 0
    )
    context.close()
