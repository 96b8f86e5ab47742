"""Which pixels of a picture are drawn anew, and how does the result get back into it? Masks, regions, what masked pixels begin from.

A mask is a picture of mode L: 255 is drawn anew, 0 stays. A1111's rules, which pictures depend on. Knows no latents.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

Box = tuple[int, int, int, int]
"""(left, top, right, bottom), the latter two not included."""

_FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""(radius, how often it is laid on top): the picture's own colours, ever less blurred towards the mask's edge."""

_ONE = 256
"""What the weights of a blur add up to."""


def mask_of(picture: Image.Image, *, rounded: bool) -> Image.Image:
    """The mask that a picture shows: its opacity where it has any transparency, else its brightness, whose grey is a soft edge.

    `rounded`: opacity counts as all or nothing.
    """
    if picture.mode != "RGBA" or picture.getchannel("A").getextrema() == (255, 255):
        return picture.convert("L")
    alpha = picture.getchannel("A")
    return alpha.point([255 if value > 128 else 0 for value in range(256)]) if rounded else alpha


def transparency(picture: Image.Image, *, rounded: bool) -> Image.Image:
    """What is transparent in a picture, as a mask. `rounded`: all or nothing, and nothing only where it is opaque."""
    if picture.mode != "RGBA":
        return Image.new("L", picture.size)
    clear = ImageOps.invert(picture.getchannel("A"))
    return clear.point([255 if value else 0 for value in range(256)]) if rounded else clear


def blurred(mask: Image.Image, x: int, y: int) -> Image.Image:
    """The mask with soft edges: a Gaussian of standard deviation `x` along rows and `y` along columns, cut off at 2.5 of them."""
    found = mask.getbbox()
    if found is None or (x == 0 and y == 0):
        return mask
    # beyond its reach nothing changes: a small mask in a large picture is quick
    box = _widened(found, _reach(x) + 1, _reach(y) + 1, mask.size)
    part = np.asarray(mask.crop(box), dtype=np.float32)
    part = _blurred_along(_blurred_along(part, x, axis=1), y, axis=0)
    made = Image.new("L", mask.size)
    made.paste(Image.fromarray(part.astype(np.uint8)), box[:2])
    return made


def strengthened(mask: Image.Image) -> Image.Image:
    """Twice as bright, at most white: where the result lies over the picture it came from, its blurred edge is on the outside."""
    return mask.point([min(255, 2 * value) for value in range(256)])


def masked_region(mask: Image.Image, padding: int) -> Box | None:
    """The smallest box around the mask with `padding` pixels on each side, within the picture; None for a mask of nothing."""
    found = mask.getbbox()
    return None if found is None else _widened(found, padding, padding, mask.size)


def expanded_region(region: Box, size: tuple[int, int], within: tuple[int, int]) -> Box:
    """The region made longer on one axis so that it has the proportions of `size`, as far as the picture `within` allows."""
    left, top, right, bottom = region
    width, height = size
    if (right - left) / (bottom - top) > width / height:
        top, bottom = _lengthened(top, bottom, (right - left) * height / width, within[1])
    else:
        left, right = _lengthened(left, right, (bottom - top) * width / height, within[0])
    return left, top, right, bottom


def filled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with colours from around the mask where the mask is."""
    kept = _without(picture, mask)
    made = Image.new("RGBA", picture.size)
    for radius, times in _FILL_BLURS:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            made.alpha_composite(layer)
    return made.convert("RGB")


def laid_over(result: Image.Image, source: Image.Image, mask: Image.Image) -> Image.Image:
    """`result` where the mask is white, `source` bit by bit where it is black, and mixed between. All three are of one size."""
    whole = source.convert("RGB")
    box = mask.getbbox()
    if box is None:
        return whole
    # the rest of a large picture is not touched at all
    part = result.crop(box).convert("RGBA")
    part.alpha_composite(_without(whole.crop(box), mask.crop(box)).convert("RGBA"))
    whole.paste(part.convert("RGB"), box[:2])
    return whole


def _without(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """RGBa: the picture with a hole where the mask is."""
    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    return kept


def _reach(blur: int) -> int:
    return int(2.5 * blur + 0.5)


def _blurred_along(values: npt.NDArray[np.float32], blur: int, *, axis: int) -> npt.NDArray[np.float32]:
    """Rounded to whole numbers again; over its end the picture is taken as mirrored."""
    if blur == 0:
        return values
    reach = _reach(blur)
    padding = [(0, 0), (0, 0)]
    padding[axis] = (reach, reach)
    padded = np.pad(values, padding, mode="reflect")
    length, total = values.shape[axis], np.zeros_like(values)
    for offset, weight in enumerate(_weights(blur)):
        if weight:
            total += (padded[:, offset : offset + length] if axis else padded[offset : offset + length]) * np.float32(weight)
    return np.floor(total / _ONE + 0.5)


def _weights(blur: int) -> list[int]:
    """The Gaussian in whole 256ths, each of which carries its rounding error on to the next: what A1111's library computes with."""
    reach = _reach(blur)
    exact = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur) ** 2)
    exact *= _ONE / exact.sum()
    half: list[int] = []
    error = 0.0
    for value in exact[:reach]:
        wanted = float(value) + error
        half.append(round(wanted))
        error = wanted - half[-1]
    return [*half, _ONE - 2 * sum(half), *reversed(half)]


def _widened(box: Box, x: int, y: int, within: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(0, left - x), max(0, top - y), min(within[0], right + x), min(within[1], bottom + y)


def _lengthened(start: int, end: int, wanted: float, limit: int) -> tuple[int, int]:
    """[start, end) made about `wanted` long on both sides, and moved back where it leaves [0, limit)."""
    more = int(wanted - (end - start))
    start, end = start - more // 2, end + more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)
