"""Masks, regions, resizing and colours: A1111's numbers, and that what is not masked stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from modules.domain.img2img import RESIZE_MODES
from modules.imaging.colors import colour_matched
from modules.imaging.fit import fitted, flattened
from modules.imaging.masks import blurred, expanded_region, filled, laid_over, mask_of, masked_region, strengthened, transparency
from modules.imaging.outpaint import FEATHER, Sides, grown, grown_mask, grown_size

VECTORS = Path(__file__).parent.parent / "vectors"
MASKS = VECTORS / "masks"
REGIONS: list[dict[str, Any]] = json.loads((VECTORS / "misc.json").read_text())["crop_regions"]
RESIZED = sorted(path.name for path in MASKS.glob("resize_*.png"))


def picture(name: str, mode: str = "RGB") -> Image.Image:
    with Image.open(MASKS / f"{name}.png") as image:
        return image.convert(mode)


def apart(first: Image.Image, second: Image.Image) -> int:
    assert first.size == second.size
    return int(np.abs(np.asarray(first.convert("RGB")).astype(int) - np.asarray(second.convert("RGB"))).max())


def values(image: Image.Image) -> list[Any]:
    return np.asarray(image)[0].tolist()


def noisy(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("name", RESIZED)
def test_pictures_are_resized_as_in_a1111(name: str) -> None:
    _, _, mode, size = Path(name).stem.split("_")
    width, height = (int(side) for side in size.split("x"))
    made = fitted(picture("init192x128"), (width, height), RESIZE_MODES[int(mode.removeprefix("mode"))])
    assert apart(made, picture(Path(name).stem)) <= 1


def test_there_are_vectors_of_every_mode() -> None:
    assert {name.split("_")[2] for name in RESIZED} == {"mode0", "mode1", "mode2"}


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(64, 48), (8, 300), (300, 8), (65, 48), (1, 1)])
def test_any_shape_becomes_any_other_and_its_own_stays_untouched(mode: str, size: tuple[int, int]) -> None:
    source = noisy(64, 48)
    made = fitted(source, size, mode)
    assert made.size == size
    if size == source.size:
        assert apart(made, source) == 0
    assert fitted(noisy(64, 48, mode="L"), size, mode).mode == "L"


@pytest.mark.parametrize("blur", [4, 9])
def test_masks_are_blurred_and_filled_as_in_a1111(blur: int) -> None:
    soft = blurred(picture("mask256", "L"), blur, blur)
    assert apart(soft, picture(f"maskblur{blur}_mask256")) <= 1
    assert apart(filled(picture("init256"), soft), picture(f"fill_init256_maskblur{blur}")) <= 1


def test_a_hard_mask_is_filled_as_in_a1111() -> None:
    assert apart(filled(picture("init256"), picture("mask256", "L")), picture("fill_init256_mask256")) <= 1


@pytest.mark.parametrize(("x", "y"), [(6, 0), (0, 6), (3, 40), (0, 0)])
@pytest.mark.parametrize("box", [(0, 0, 5, 90), (30, 20, 31, 21), (0, 0, 100, 90), (60, 50, 100, 60)])
def test_a_blur_is_a_gaussian_on_each_axis_wherever_the_mask_lies(x: int, y: int, box: tuple[int, int, int, int]) -> None:
    mask = Image.new("L", (100, 90))
    mask.paste(255, box)
    expected = np.asarray(mask, dtype=float)
    for axis, blur in ((1, x), (0, y)):
        if blur:
            expected = gaussian_filter1d(expected, blur, axis=axis, mode="mirror", radius=int(2.5 * blur + 0.5))
    # weights in 256ths
    assert np.abs(np.asarray(blurred(mask, x, y)) - expected).max() <= 4 + max(x, y) / 2


@pytest.mark.parametrize("case", REGIONS, ids=lambda case: f"{case['masked_box_xyxy']}-{case['pad']}-{case['processing']}")
def test_regions_are_a1111s(case: dict[str, Any]) -> None:
    mask = Image.new("L", tuple(case["image"]))
    mask.paste(255, tuple(case["masked_box_xyxy"]))
    found = masked_region(mask, case["pad"])
    assert found == tuple(case["crop"])
    assert expanded_region(found, tuple(case["processing"]), tuple(case["image"])) == tuple(case["expanded"])


def test_a_mask_of_nothing_has_no_region() -> None:
    assert masked_region(Image.new("L", (40, 40)), 32) is None


def test_a_mask_is_read_from_opacity_or_from_brightness() -> None:
    bright = Image.fromarray(np.array([[0, 128, 129, 255]], np.uint8))
    for rounded in (True, False):
        assert values(mask_of(bright, rounded=rounded)) == [0, 128, 129, 255]
        assert values(mask_of(bright.convert("RGB"), rounded=rounded)) == [0, 128, 129, 255]
    strokes = Image.new("RGBA", (3, 1))
    strokes.putpixel((1, 0), (0, 0, 0, 255))
    strokes.putpixel((2, 0), (255, 255, 255, 90))
    assert values(mask_of(strokes, rounded=True)) == [0, 255, 0]
    assert values(mask_of(strokes, rounded=False)) == [0, 255, 90]
    assert values(transparency(strokes, rounded=False)) == [255, 0, 165]
    assert values(transparency(strokes, rounded=True)) == [255, 0, 255]
    assert values(transparency(bright.convert("RGB"), rounded=True)) == [0] * 4


def test_a_result_laid_over_its_source_leaves_every_bit_of_what_is_not_masked() -> None:
    mask = blurred(strengthened(Image.new("L", (64, 64))), 0, 0)
    mask.paste(255, (20, 20, 40, 44))
    mask = blurred(mask, 3, 3)
    source, made = noisy(64, 64), noisy(64, 64, 1)
    both, kept = np.asarray(laid_over(made, source, mask)), np.asarray(mask)
    assert np.array_equal(both[kept == 0], np.asarray(source)[kept == 0])
    assert np.array_equal(both[kept == 255], np.asarray(made)[kept == 255])
    share = kept[..., None] / 255
    assert np.abs(both - (np.asarray(made) * share + np.asarray(source) * (1 - share))).max() <= 3
    assert (kept[(kept > 0) & (kept < 255)]).size > 0


def test_what_is_transparent_shows_the_background() -> None:
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (10, 20, 30, 255))
    assert values(flattened(half, "#ff8000")) == [[255, 128, 0], [10, 20, 30]]


def test_colours_become_those_of_the_reference_and_lightness_stays() -> None:
    """A reddish picture after a bluish one: its own light and dark, the other's tint."""
    grey = np.asarray(noisy(64, 64, 3, "L").resize((16, 16)).resize((64, 64)), dtype=float)[..., None]
    reddish = Image.fromarray((grey * 0.5 + np.array([90, 30, 20])).astype(np.uint8))
    bluish = Image.fromarray((grey[::-1] * 0.5 + np.array([20, 40, 95])).astype(np.uint8))
    made = np.asarray(colour_matched(reddish, bluish), dtype=float)
    luma = np.array([0.3, 0.59, 0.11])
    assert np.abs(made @ luma - np.asarray(reddish, dtype=float) @ luma).max() < 2
    tints = [np.asarray(each, dtype=float).mean((0, 1)) for each in (made, bluish)]
    assert np.abs((tints[0] - tints[0] @ luma) - (tints[1] - tints[1] @ luma)).max() < 12
    assert made[..., 2].mean() > made[..., 0].mean() + 40
    assert apart(colour_matched(reddish, reddish), reddish) <= 4


@pytest.mark.parametrize(
    ("sides", "size", "grew"),
    [
        (Sides(64, 0, 0, 0), (192, 128), Sides(64, 0, 0, 0)),
        (Sides(3, 0, 0, 5), (136, 136), Sides(8, 0, 0, 8)),
        (Sides(0, 1, 2, 1), (136, 136), Sides(0, 8, 7, 1)),
    ],
)
def test_a_picture_grows_to_whole_steps_on_the_sides_that_grow(sides: Sides, size: tuple[int, int], grew: Sides) -> None:
    assert grown_size((128, 128), sides, 8) == (size, grew)


def test_a_size_that_is_no_whole_step_is_made_one() -> None:
    assert grown_size((101, 50), Sides(0, 0, 10, 0), 8) == ((104, 64), Sides(0, 3, 14, 0))


def test_a_grown_picture_keeps_its_middle_and_continues_its_edges() -> None:
    source = Image.new("RGB", (80, 64), (200, 40, 40))
    source.paste((40, 40, 200), (40, 0, 80, 64))
    sides = Sides(48, 32, 0, 16)
    made, mask = np.asarray(grown(source, sides), dtype=int), np.asarray(grown_mask(source.size, sides))
    assert made.shape == (80, 160, 3) and mask.shape == (80, 160)
    assert np.array_equal(made[:64, 48:128], np.asarray(source))
    left, right = made[:64, :48].mean((0, 1)), made[:64, 128:].mean((0, 1))
    assert left[0] > 150 > 90 > left[2] and right[2] > 150 > 90 > right[0]
    assert made[:, :16].std() > 8, "plain colours would stay plain"
    assert (mask[:, :48] == 255).all() and (mask[64:] == 255).all()
    inner = mask[:64, 48:128]
    reach = min(FEATHER, 64 // 4)
    assert (inner[: 64 - reach, FEATHER : 80 - FEATHER] == 0).all()
    assert (np.diff(inner[0].astype(int)[:40]) <= 0).all() and 200 < inner[0, 0] < 255
    assert np.array_equal(made, np.asarray(grown(source, sides))), "the same again"
