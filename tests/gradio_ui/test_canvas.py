"""The canvas as a hand uses it: what is drawn is, pixel by pixel, what the server gets, and nothing gets lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, expect

from tests.browser import open_page, reload_page
from tests.gradio_ui.canvas_hand import Hand, gradient, png, saved
from tests.webui_process import WebUI

pytestmark = pytest.mark.browser

WINDOW: ViewportSize = {"width": 1500, "height": 950}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(gradient(1024), tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def desk(browser: Browser, webui: WebUI) -> Iterator[Page]:
    """One page for all tests here, since it takes seconds to open; a script error on it fails the last of them."""
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_page(page, webui.url)
    yield page
    context.close()
    assert not errors, errors


@pytest.fixture
def page(desk: Page) -> Page:
    """The page with its canvases empty, and no old messages."""
    desk.set_viewport_size(WINDOW)
    desk.evaluate("() => document.querySelectorAll('.webui-toast').forEach((node) => node.remove())")
    desk.evaluate(
        """async () => {
            const canvas = await webui.loadCanvas();
            for (const slot of canvas.keys.map(canvas.slot)) {
                await slot.ready();
                slot.drawing.setPicture(null, {undoable: false});
            }
        }"""
    )
    return desk


@pytest.fixture
def hand(page: Page, picture: Path) -> Hand:
    """At the mask of a picture of 1024x1024, with a hard brush of 60 pixels."""
    found = Hand(page)
    found.load(picture)
    found.tool("brush")
    found.set("size", 60)
    found.set("softness", 0)
    return found


def test_a_stroke_masks_what_the_brush_covers_and_undo_takes_exactly_that_back(hand: Hand) -> None:
    hand.stroke((200, 300), (600, 300))
    first = hand.mask()
    assert first.shape == (1024, 1024)
    assert (first[280:320, 200:600] == 255).all()
    assert (first[:262] == 0).all() and (first[338:] == 0).all() and (first[:, :162] == 0).all() and (first[:, 638:] == 0).all()
    hand.stroke((700, 700), (700, 900))
    both = hand.mask()
    hand.key("Control+z")
    assert np.array_equal(hand.mask(), first)
    hand.key("Control+z")
    assert not hand.mask().any()
    hand.key("Control+y")
    hand.tool("redo")
    assert np.array_equal(hand.mask(), both)


def test_invert_and_clear_are_exact_and_can_be_undone(hand: Hand) -> None:
    hand.set("softness", 0.6)
    hand.stroke((100, 100), (500, 800), (900, 200))
    mask = hand.mask()
    assert len(np.unique(mask)) > 50, "a soft brush has soft edges"
    hand.tool("invert")
    assert np.array_equal(hand.mask(), 255 - mask)
    hand.tool("clear")
    assert not hand.mask().any()
    hand.key("Control+z")
    assert np.array_equal(hand.mask(), 255 - mask)
    hand.key("Control+z")
    assert np.array_equal(hand.mask(), mask)


def test_erasing_with_x_with_the_right_button_and_with_shift(hand: Hand, page: Page) -> None:
    hand.tool("rectangle")
    hand.stroke((100, 100), (900, 900))
    whole = hand.mask()
    hand.tool("brush")
    hand.key("x")
    hand.stroke((200, 200), (400, 200))
    hand.key("x")
    hand.stroke((200, 400), (400, 400), button="right")
    page.keyboard.down("Shift")
    hand.stroke((200, 600), (400, 600))
    page.keyboard.up("Shift")
    mask = hand.mask()
    assert not mask[[200, 400, 600], 200:400].any()
    assert (mask[700:890, 110:890] == 255).all()
    for _ in range(3):
        hand.key("Control+z")
    assert np.array_equal(hand.mask(), whole)


def test_rectangle_lasso_and_fill(hand: Hand) -> None:
    hand.tool("rectangle")
    hand.stroke((128, 256), (512, 640))
    mask = hand.mask()
    ys, xs = np.nonzero(mask)
    assert set(np.unique(mask)) == {0, 255}, "a rectangle has sharp edges"
    assert (
        abs(int(xs.min()) - 128) <= 2 and abs(int(xs.max()) - 511) <= 2 and abs(int(ys.min()) - 256) <= 2 and abs(int(ys.max()) - 639) <= 2
    )
    hand.tool("clear")
    hand.tool("lasso")
    hand.stroke((300, 200), (700, 200), (500, 600))
    assert hand.mask()[300, 500] == 255 and hand.mask()[590, 320] == 0
    hand.tool("clear")
    hand.tool("brush")
    hand.stroke((300, 300), (700, 300), (700, 700), (300, 700), (300, 300))
    assert hand.mask()[500, 500] == 0
    hand.tool("fill")
    hand.stroke((500, 500))
    mask = hand.mask()
    assert (mask[350:650, 350:650] == 255).all() and not mask[:200].any()


def test_keys_change_the_brush(hand: Hand, page: Page) -> None:
    size = page.locator("#img2maskimg [data-name=size]")
    for larger, smaller in (("]", "["), ("w", "q")):
        before = float(size.input_value())
        hand.key(larger)
        grown = float(size.input_value())
        hand.key(smaller)
        assert grown > before > float(size.input_value()) - 1.5
    before = float(size.input_value())
    page.keyboard.down("Control")
    page.mouse.move(*hand.at(500, 500))
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("before => document.querySelector('#img2maskimg [data-name=size]').value > before", arg=before)


def test_a_pen_presses_harder_for_a_wider_stroke(hand: Hand, page: Page) -> None:
    hand.stage.scroll_into_view_if_needed()
    pen = page.context.new_cdp_session(page)
    for force, y in ((1.0, 300), (0.4, 700)):
        for kind, x in (("mousePressed", 300), ("mouseMoved", 500), ("mouseMoved", 700), ("mouseReleased", 700)):
            place = dict(zip("xy", hand.at(x, y), strict=True))
            drawing = {"type": kind, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen", "force": force}
            pen.send("Input.dispatchMouseEvent", {**place, **drawing})
    widths = [int((hand.mask()[y - 100 : y + 100, 500] > 127).sum()) for y in (300, 700)]
    assert abs(widths[0] - 60) <= 2 and abs(widths[1] - 24) <= 3


def test_what_is_drawn_piece_by_piece_looks_as_if_drawn_at_once(hand: Hand, page: Page) -> None:
    hand.set("softness", 0.5)
    hand.stroke((200, 200), (800, 350), (300, 700))
    hand.key("x")
    hand.stroke((500, 100), (500, 900))
    hand.key("x")
    shown = """async (key) => {
        for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
        return document.querySelector(`#${key} canvas`).toDataURL();
    }"""
    pieces = page.evaluate(shown, hand.slot)
    hand.set("overlay", "#0000ff")
    other = page.evaluate(shown, hand.slot)
    hand.set("overlay", "#ff4080")
    assert page.evaluate(shown, hand.slot) == pieces != other


def test_zooming_and_moving_draws_where_the_pointer_is(hand: Hand, page: Page) -> None:
    status = page.locator("#img2maskimg .canvas-status")
    fitting = status.inner_text()
    page.mouse.move(*hand.at(256, 256))
    page.keyboard.down("Alt")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Alt")
    expect(status).not_to_have_text(fitting)
    hand.set("size", 20)
    page.mouse.down()
    page.mouse.up()
    ys, xs = np.nonzero(hand.mask())
    assert abs(float(xs.mean()) - 256) < 3 and abs(float(ys.mean()) - 256) < 3, "the point below the pointer stays there"
    hand.key("r")
    expect(status).to_have_text(fitting)
    page.keyboard.down("f")
    hand.stroke((500, 500), (600, 600))
    page.keyboard.up("f")
    assert np.nonzero(hand.mask())[0].size == ys.size, "with F held nothing is drawn"


def test_the_mask_survives_another_tab_another_window_size_and_a_reload(hand: Hand, page: Page) -> None:
    hand.stroke((200, 200), (800, 500))
    mask = hand.mask()
    hand.open("Sketch")
    page.locator("#tabs [role=tab]", has_text="txt2img").first.click()
    page.set_viewport_size({"width": 1000, "height": 700})
    page.locator("#tabs [role=tab]", has_text="img2img").first.click()
    hand.open("Inpaint")
    assert np.array_equal(hand.mask(), mask)
    hand.kept()
    reload_page(page)
    again = Hand(page)
    assert again.size == [1024, 1024]
    assert np.array_equal(again.mask(), mask)
    assert np.array_equal(again.picture(), np.asarray(gradient(1024)))


def test_what_is_no_picture_gets_a_sentence_and_the_old_one_stays(hand: Hand, page: Page, tmp_path: Path) -> None:
    hand.stroke((200, 200), (800, 500))
    mask = hand.mask()
    damaged = tmp_path / "damaged.png"
    file = png(gradient(256))
    damaged.write_bytes(file[: len(file) // 2])
    page.locator("#img2maskimg input[type=file]").set_input_files(str(damaged))
    expect(page.locator(".webui-toast.error")).to_contain_text("The picture can't be used")
    assert hand.size == [1024, 1024]
    assert np.array_equal(hand.mask(), mask)


def test_a_failed_upload_is_told_and_loses_nothing(hand: Hand, page: Page, tmp_path: Path) -> None:
    hand.stroke((200, 200), (800, 500))
    mask = hand.mask()
    page.route("**/internal/inputs**", lambda route: route.abort())
    page.wait_for_function("() => fetch('internal/inputs').then(() => false, () => true)")  # Chromium takes a moment to obey
    page.evaluate("key => { webui.canvas.slot(key).sent = {}; }", hand.slot)
    page.locator("#img2maskimg input[type=file]").set_input_files(str(saved(gradient(256), tmp_path)))
    expect(page.locator(".webui-toast.error", has_text="does not answer")).to_be_visible()
    page.click("#img2img_generate")
    expect(page.locator(".webui-toast.error", has_text="Nothing is lost")).to_have_count(2)
    page.unroute("**/internal/inputs**")
    assert np.array_equal(hand.mask(), mask)


def test_pictures_can_be_dropped_and_pasted_and_undo_brings_the_old_one_back(hand: Hand, page: Page) -> None:
    hand.stroke((200, 200), (800, 500))
    mask = hand.mask()
    bring = """([key, bytes, kind]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'brought.png', {type: 'image/png'}));
        const stage = document.querySelector(`#${key} .canvas-stage`);
        stage.dispatchEvent(kind === 'drop' ? new DragEvent('drop', {bubbles: true, dataTransfer: data})
            : new ClipboardEvent('paste', {bubbles: true, clipboardData: data}));
    }"""
    for kind, side in (("drop", 320), ("paste", 200)):
        page.evaluate(bring, [hand.slot, list(png(gradient(side))), kind])
        page.wait_for_function("([key, side]) => webui.canvas.slot(key).drawing.width === side", arg=[hand.slot, side])
        assert not hand.mask().any()
    hand.key("Control+z")
    assert hand.size == [320, 320]
    hand.key("Control+z")
    assert hand.size == [1024, 1024]
    assert np.array_equal(hand.mask(), mask)


def test_sketching_paints_in_colour_and_the_picker_takes_one(page: Page, picture: Path) -> None:
    hand = Hand(page, "Sketch")
    hand.load(picture)
    hand.tool("brush")
    hand.set("size", 80)
    hand.set("softness", 0)
    hand.set("colour", "#12ab34")
    hand.stroke((300, 300), (700, 300))
    before, after = np.asarray(gradient(1024)), hand.picture()
    painted = after[290:310, 300:700].astype(int)
    assert abs(painted - (0x12, 0xAB, 0x34)).max() <= 1, "where marks overlap, a browser rounds"
    assert np.array_equal(after[400:], before[400:])
    hand.tool("picker")
    hand.stroke((600, 800))
    chosen = page.locator("#img2img_sketch [data-name=colour]").input_value()
    wanted = before[800, 600]
    assert max(abs(int(chosen[1 + 2 * i : 3 + 2 * i], 16) - int(wanted[i])) for i in range(3)) <= 1
    hand.key("Control+z")
    assert np.array_equal(hand.picture(), before)


@pytest.mark.slow
def test_a_picture_of_4096_pixels_a_side(page: Page, tmp_path: Path) -> None:
    hand = Hand(page)
    hand.load(saved(Image.new("L", (4096, 4096), 90), tmp_path))
    hand.tool("brush")
    hand.set("size", 200)
    hand.set("softness", 0)
    hand.stroke((500, 500), (3500, 3500))
    covered = "key => webui.canvas.slot(key).drawing.ink.context.getImageData(2000, 2000, 1, 1).data[3]"
    assert page.evaluate(covered, hand.slot) == 255
    hand.key("Control+z")
    assert page.evaluate(covered, hand.slot) == 0


def test_undo_forgets_the_oldest_steps_rather_than_filling_the_memory(page: Page) -> None:
    kept = page.evaluate(
        """async () => {
            await webui.loadCanvas();
            const {History, TileStep} = await import('/internal/canvas/history.js');
            const {Layer} = await import('/internal/canvas/layer.js');
            const layer = new Layer(1024, 1024), history = new History(3 * 256 * 256 * 4);
            for (let i = 0; i < 10; i++) {
                const step = new TileStep(layer);
                step.touch({x: 10, y: 10, width: 5, height: 5});
                history.push(step);
            }
            const large = new TileStep(layer);
            large.touch(layer.whole);
            history.push(large);
            return [history.bytes, history.done.length, history.done[0] === large];
        }"""
    )
    assert kept == [4 * 1024 * 1024, 1, True]


def test_every_tool_is_a_button_with_a_name_and_the_stage_can_be_reached_by_keyboard(hand: Hand, page: Page) -> None:
    buttons = page.locator("#img2maskimg .canvas-bar button, #img2maskimg .canvas-bar input")
    for node in buttons.all():
        assert node.evaluate("node => node.title || node.closest('label').title")
    assert page.locator("#img2maskimg [role=toolbar]").count() == 1
    stage = page.get_by_role("application", name="Picture to inpaint")
    expect(stage).to_have_attribute("tabindex", "0")
    hand.key("s")
    expect(page.locator("#img2maskimg .canvas-editor")).to_have_attribute("data-full", "")
    box = hand.stage.bounding_box()
    assert box and box["width"] > 1400 and box["height"] > 800
    page.keyboard.press("Escape")
    expect(page.locator("#img2maskimg .canvas-editor")).not_to_have_attribute("data-full", "")


@pytest.fixture
def phone(browser: Browser, webui: WebUI) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_page(page, webui.url)
    yield page
    context.close()


def _touch(fingers: CDPSession, kind: str, *points: tuple[float, float]) -> None:
    fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]})


def test_one_finger_draws_and_two_zoom(phone: Page, picture: Path) -> None:
    hand = Hand(phone)
    hand.load(picture)
    hand.set("size", 60)
    hand.set("softness", 0)
    hand.stage.scroll_into_view_if_needed()
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    fingers = phone.context.new_cdp_session(phone)
    _touch(fingers, "touchStart", hand.at(300, 500))
    for x in range(350, 751, 50):
        _touch(fingers, "touchMove", hand.at(x, 500))
    _touch(fingers, "touchEnd")
    mask = hand.mask()
    assert (mask[490:510, 310:740] == 255).all() and not mask[:440].any()
    status = phone.locator("#img2maskimg .canvas-status")
    before = status.inner_text()
    first, second = hand.at(400, 400), hand.at(600, 600)
    _touch(fingers, "touchStart", first)
    _touch(fingers, "touchStart", first, second)
    for step in range(1, 6):
        _touch(fingers, "touchMove", (first[0] - 8 * step, first[1] - 8 * step), (second[0] + 8 * step, second[1] + 8 * step))
    _touch(fingers, "touchEnd")
    expect(status).not_to_have_text(before)
    assert np.array_equal(hand.mask(), mask), "the first of two fingers draws nothing"


def test_the_route_takes_pictures_only(webui: WebUI) -> None:
    kept = httpx.post(f"{webui.url}/internal/inputs", content=png(gradient(64))).json()
    assert (kept["width"], kept["height"], kept["has_alpha"]) == (64, 64, False)
    assert httpx.get(f"{webui.url}/internal/inputs/{kept['id']}.png").headers["content-type"] == "image/png"
    refused = httpx.post(f"{webui.url}/internal/inputs", content=b"<svg onload=alert(1)>")
    assert refused.status_code == 422 and refused.json()["error"].startswith("The picture can't be used")
    foreign = httpx.post(f"{webui.url}/internal/inputs", content=png(gradient(64)), headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    for name in ("..%2F..%2Fjobs", "0" * 32, "canvas"):
        assert httpx.get(f"{webui.url}/internal/inputs/{name}.png").status_code == 404
    assert httpx.get(f"{webui.url}/internal/canvas/..%2Fcore.js").status_code == 404
