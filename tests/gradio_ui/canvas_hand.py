"""A hand for the canvases: opens them, loads pictures, draws, and reads back what is on them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Page

Pixels = npt.NDArray[np.uint8]

SLOTS = {"img2img": "img2img_image", "Sketch": "img2img_sketch", "Inpaint": "img2maskimg", "Inpaint sketch": "inpaint_sketch"}


def gradient(side: int) -> Image.Image:
    """A picture in which every part looks different."""
    y, x = np.mgrid[0:side, 0:side]
    return Image.fromarray(np.stack([x * 255 // side, y * 255 // side, (x + y) * 127 // side], axis=-1).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """`picture` as a file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def saved(picture: Image.Image, folder: Path, name: str = "picture.png") -> Path:
    """`picture` in a file of `folder`."""
    picture.save(folder / name)
    return folder / name


class Hand:
    """Works on one sub-tab of img2img. Points are in pixels of the picture."""

    def __init__(self, page: Page, tab: str = "Inpaint") -> None:
        self.page = page
        self.slot = SLOTS[tab]
        page.locator("#tabs [role=tab]", has_text="img2img").first.click()
        self.open(tab)

    @property
    def stage(self) -> Any:
        return self.page.locator(f"#{self.slot} .canvas-stage")

    def open(self, tab: str) -> None:
        """Go to a sub-tab."""
        self.page.locator("#mode_img2img").get_by_role("tab", name=tab, exact=True).first.click()
        self.slot = SLOTS[tab]
        self.stage.locator("canvas").wait_for()
        self.page.evaluate("key => webui.canvas.slot(key).ready()", self.slot)

    def load(self, file: Path) -> None:
        """Choose a file, and wait until it is there."""
        before = self.revision
        self.page.locator(f"#{self.slot} input[type=file]").set_input_files(str(file))
        self.page.wait_for_function("([key, before]) => webui.canvas.slot(key).drawing.revision > before", arg=[self.slot, before])

    @property
    def revision(self) -> int:
        return int(self.page.evaluate("key => webui.canvas.slot(key).drawing.revision", self.slot))

    @property
    def size(self) -> list[int]:
        return list(
            self.page.evaluate("key => { const {width, height} = webui.canvas.slot(key).drawing; return [width, height]; }", self.slot)
        )

    def tool(self, name: str) -> None:
        """Press a button of the toolbar."""
        self.page.locator(f"#{self.slot} .canvas-bar [data-name={name}]").click()

    def set(self, name: str, value: float | str) -> None:
        """Move a slider of the toolbar, or choose a colour."""
        node = self.page.locator(f"#{self.slot} .canvas-bar input[data-name={name}]")
        node.evaluate("(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", value)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture is in the window. The picture has to fit into the stage."""
        box = self.stage.bounding_box()
        width, height = self.size
        scale = min(box["width"] / width, box["height"] / height)
        return box["x"] + (box["width"] - width * scale) / 2 + x * scale, box["y"] + (box["height"] - height * scale) / 2 + y * scale

    def stroke(self, *points: tuple[float, float], button: Any = "left") -> None:
        """Press, move through the points, let go."""
        self.stage.scroll_into_view_if_needed()
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=4)
        mouse.up(button=button)

    def key(self, key: str) -> None:
        """Press a key on the stage."""
        self.stage.focus()
        self.page.keyboard.press(key)

    def mask(self) -> Pixels:
        """The ink as the server would get it."""
        return np.asarray(self._read("drawing.ink.asMask()").convert("L"))

    def picture(self) -> Pixels:
        """The picture with its paint."""
        return np.asarray(self._read("drawing.flattened()").convert("RGB"))

    def _read(self, canvas: str) -> Image.Image:
        url = self.page.evaluate(f"key => {{ const {{drawing}} = webui.canvas.slot(key); return {canvas}.toDataURL(); }}", self.slot)
        return Image.open(io.BytesIO(base64.b64decode(str(url).partition(",")[2])))

    def kept(self) -> None:
        """Wait until the browser's database has everything."""
        self.page.wait_for_function("key => webui.canvas.slot(key).settled", arg=self.slot)
