"""Outpainting: the middle stays, the new sides are drawn, and the size is one that can be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.domain.events import Failed, Finished
from modules.domain.img2img import Img2Img, Inpaint, Outpaint
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.imaging.outpaint import FEATHER
from modules.settings.schema import Settings
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, write_checkpoint


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    return Studio(folder, catalog_of(write_checkpoint(folder / "models")))


def scene(width: int = 44, height: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ask(studio: Studio, outpaint: Outpaint, *, image: np.ndarray[Any, Any] | None = None, **more: Any) -> dict[str, Any]:
    init = Img2Img(image=studio.put(scene() if image is None else image), denoising_strength=0.9)
    return {"init": init, "inpaint": Inpaint(outpaint=outpaint, **more)}


@pytest.mark.parametrize(
    ("outpaint", "size", "at"),
    [
        (Outpaint(right=12), (56, 32), (0, 0)),
        (Outpaint(left=12, top=8), (56, 40), (12, 8)),
        (Outpaint(left=10, bottom=3), (56, 40), (12, 0)),
        (Outpaint(left=8, right=12, top=8, bottom=8), (64, 48), (8, 8)),
    ],
)
@pytest.mark.parametrize("content", ["original", "latent_noise"])
def test_the_picture_grows_and_keeps_its_middle(
    studio: Studio, outpaint: Outpaint, size: tuple[int, int], at: tuple[int, int], content: str
) -> None:
    events = studio.run(steps=2, **ask(studio, outpaint, content=content))
    (event,) = images(events)
    assert (event.width, event.height) == size
    end = events[-1]
    assert isinstance(end, Finished) and any("outpainting makes the picture" in note for note in end.notes)
    made, source = pixels(event), scene()
    height, width = source.shape[:2]
    x, y = (min(FEATHER, side // 4) for side in (width, height))
    left, right = (x if outpaint.left else 0), (width - x if outpaint.right else width)
    top, bottom = (y if outpaint.top else 0), (height - y if outpaint.bottom else height)
    kept = made[at[1] : at[1] + height, at[0] : at[0] + width]
    assert np.array_equal(kept[top:bottom, left:right], source[top:bottom, left:right])
    outside = np.ones(made.shape[:2], bool)
    outside[at[1] : at[1] + height, at[0] : at[0] + width] = False
    assert made[outside].std() > 5


def test_the_infotext_says_how_far_and_the_form_reads_it_back(studio: Studio) -> None:
    text = images(studio.run(**ask(studio, Outpaint(left=12, bottom=8), content="fill")))[0].infotext
    assert "Size: 56x40" in text and "Masked content: fill, Outpaint left: 12, Outpaint bottom: 8" in text
    assert "Mask blur" not in text and "Outpaint right" not in text
    values = from_infotext(text, studio.catalog, Settings(), img2img=True).values
    assert [values[f"outpaint_{side}"] for side in ("left", "right", "top", "bottom")] == [12, 0, 0, 8]


def test_only_masked_draws_the_new_side_and_what_is_near_it(studio: Studio) -> None:
    (event,) = images(studio.run(**ask(studio, Outpaint(right=12), only_masked=True, padding=4)))
    assert (event.width, event.height) == (56, 32) and "Size: 32x32" in event.infotext
    assert np.array_equal(pixels(event)[:, :33], scene()[:, :33])


def test_a_drawn_mask_is_drawn_anew_as_well(studio: Studio) -> None:
    mask = Image.new("L", (44, 32))
    mask.paste(255, (4, 4, 20, 20))
    asked = ask(studio, Outpaint(right=12), mask=studio.put(mask.convert("RGB")), mask_blur_x=0, mask_blur_y=0)
    made = studio.draw(**asked)[0]
    assert (made[6:18, 6:18] != scene()[6:18, 6:18]).any(axis=2).mean() > 0.95
    assert np.array_equal(made[:, 24:33], scene()[:, 24:33])
    turned, plain = (ask(studio, Outpaint(right=12), invert=invert) for invert in (True, False))
    assert np.array_equal(studio.draw(**turned)[0], studio.draw(**plain)[0]), "without a mask there is nothing to turn round"


def test_a_picture_that_would_be_too_large_is_refused(studio: Studio) -> None:
    end = studio.run(**ask(studio, Outpaint(left=4096, right=4096)))[-1]
    assert isinstance(end, Failed) and "8192 pixels a side" in end.reason
