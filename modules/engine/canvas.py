"""What do the pictures around a sampled one look like? The start picture and its mask made ready, and the result put back into it.

Pictures only: it knows neither latents nor models.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

from modules.domain.errors import ImageUnreadable, InvalidRequest
from modules.domain.img2img import Outpaint
from modules.domain.plans import InpaintPlan, StartPlan
from modules.domain.requests import SIZE_STEP
from modules.imaging.colors import colour_matched
from modules.imaging.files import open_image, read_shape
from modules.imaging.fit import Size, fitted, flattened
from modules.imaging.masks import (
    Box,
    blurred,
    expanded_region,
    filled,
    laid_over,
    mask_of,
    masked_region,
    strengthened,
    transparency,
)
from modules.imaging.outpaint import Sides, grown, grown_mask, grown_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A start picture ready to be drawn on."""

    picture: Image.Image
    """RGB; what sampling begins from, in the size that is drawn in (for the latent resize mode in its own)."""
    mask: Image.Image | None = None
    """L, in the size that is drawn in: where that is."""
    source: Image.Image | None = None
    """RGB; what the result is put into, where there is a mask."""
    overlay: Image.Image | None = None
    """L, of the source's size: where the result replaces it."""
    region: Box | None = None
    """The part of the source that the drawn picture is of; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A finished picture, and by kind those that were asked for beside it."""

    image: Image.Image
    extras: tuple[tuple[str, Image.Image], ...] = ()


def prepared(start: StartPlan, size: Size) -> Canvas:
    """The canvas for a picture that is drawn in `size`.

    Raises `ImageUnreadable` where a file is gone or damaged, and `InvalidRequest` for a mask of nothing.
    """
    picture = open_input(start.image)
    source = flattened(picture, start.background)
    if start.inpaint is None:
        return Canvas(picture=source if start.resize_mode == "latent" else fitted(source, size, start.resize_mode))
    inpaint = start.inpaint
    mask = _mask(inpaint, picture)
    if inpaint.outpaint is not None:
        sides = grown_size(source.size, sides_of(inpaint.outpaint), SIZE_STEP)[1]
        mask = _with_margins(mask, source.size, sides)
        source = grown(source, sides)
    found = masked_region(mask, inpaint.padding)
    if found is None:
        raise InvalidRequest("The mask covers nothing, so there is nothing to inpaint: paint over what is to be drawn anew.")
    if inpaint.only_masked:
        return _part(inpaint, source, mask, expanded_region(found, size, source.size), size)
    return _whole(start, inpaint, source, mask, size)


def finished(start: StartPlan, canvas: Canvas, made: Image.Image, overlay: Image.Image | None = None) -> Drawn:
    """The result from what was drawn: colours corrected, laid into its source. `overlay` (L, of the source's size) replaces the
    canvas' own.

    Without an overlay, where the settings switch it off, what was drawn is the result.
    """
    matched = colour_matched(made, _colours(start, canvas)) if start.color_correction else made
    mask = canvas.overlay if overlay is None else overlay
    result = _put_back(start, canvas, matched, mask)
    extras: list[tuple[str, Image.Image]] = []
    for kind in start.extras:
        if kind == "before_color_correction":
            extras.append((kind, _put_back(start, canvas, made, mask)))
        elif mask is not None:
            extras.append((kind, mask.convert("RGB") if kind == "mask" else _cut_out(canvas, matched, mask)))
    return Drawn(image=result, extras=tuple(extras))


def _colours(start: StartPlan, canvas: Canvas) -> Image.Image:
    return canvas.picture if start.colors_of is None else flattened(open_input(start.colors_of), start.background)


def in_source(made: Image.Image, region: Box | None, size: Size) -> Image.Image:
    """What was drawn, at its place in a picture of the source's `size`, which is otherwise black."""
    if region is None:
        return made
    left, top, right, bottom = region
    whole = Image.new(made.mode, size)
    whole.paste(fitted(made, (right - left, bottom - top), "crop_and_resize"), (left, top))
    return whole


def open_input(path: str) -> Image.Image:
    """A picture of the input store, RGB or RGBA. Raises `ImageUnreadable` with what to do."""
    with _saying_what_to_do():
        return open_image(Path(path))


def input_shape(path: str) -> tuple[Size, str]:
    """((width, height), RGB or RGBA) of such a picture, without reading it. Raises as `open_input` does."""
    with _saying_what_to_do():
        return read_shape(Path(path))


def sides_of(outpaint: Outpaint) -> Sides:
    """What was asked for, as `imaging.outpaint` takes it."""
    return Sides(outpaint.left, outpaint.right, outpaint.top, outpaint.bottom)


@contextmanager
def _saying_what_to_do() -> Generator[None]:
    try:
        yield
    except ImageUnreadable as error:
        raise ImageUnreadable(f"The start picture or its mask can't be used: {error} Choose it again.") from error


def _mask(inpaint: InpaintPlan, picture: Image.Image) -> Image.Image:
    """The mask of what is in the picture, blurred, in its size."""
    rounded = inpaint.soft is None
    mask = Image.new("L", picture.size)
    if inpaint.mask is not None:
        mask = mask_of(fitted(open_input(inpaint.mask), picture.size, "just_resize"), rounded=rounded)
    if inpaint.from_alpha:
        mask = ImageChops.lighter(mask, transparency(picture, rounded=rounded))
    # where only the picture's growth is drawn there is no mask to be turned round
    if inpaint.invert and inpaint.has_mask:
        mask = ImageOps.invert(mask)
    return blurred(mask, inpaint.blur_x, inpaint.blur_y)


def _with_margins(mask: Image.Image, size: Size, sides: Sides) -> Image.Image:
    """The mask of a picture of `size` and of what grows around it."""
    margins = grown_mask(size, sides)
    inner = Image.new("L", margins.size)
    inner.paste(mask, (sides.left, sides.top))
    return ImageChops.lighter(margins, inner)


def _whole(start: StartPlan, inpaint: InpaintPlan, source: Image.Image, mask: Image.Image, size: Size) -> Canvas:
    mode = "just_resize" if start.resize_mode == "latent" else start.resize_mode
    laid, mask = fitted(source, size, mode), fitted(mask, size, mode)
    return Canvas(
        picture=_begun(inpaint, source if start.resize_mode == "latent" else laid, mask),
        mask=mask,
        source=laid,
        overlay=strengthened(mask),
    )


def _part(inpaint: InpaintPlan, source: Image.Image, mask: Image.Image, region: Box, size: Size) -> Canvas:
    cut = fitted(mask.crop(region), size, "resize_and_fill")
    picture = fitted(source.crop(region), size, "resize_and_fill")
    return Canvas(picture=_begun(inpaint, picture, cut), mask=cut, source=source, overlay=mask, region=region)


def _begun(inpaint: InpaintPlan, picture: Image.Image, mask: Image.Image) -> Image.Image:
    """What the masked part begins from, as far as it is a matter of pixels: A1111 fills it for every content but the original."""
    return picture if inpaint.content == "original" else filled(picture, fitted(mask, picture.size, "just_resize"))


def _put_back(start: StartPlan, canvas: Canvas, made: Image.Image, mask: Image.Image | None) -> Image.Image:
    if start.inpaint is None or not start.inpaint.overlay or canvas.source is None or mask is None:
        return made
    return laid_over(in_source(made, canvas.region, canvas.source.size), canvas.source, mask)


def _cut_out(canvas: Canvas, made: Image.Image, mask: Image.Image) -> Image.Image:
    """RGBA: what was drawn, as opaque as the mask is bright."""
    cut = in_source(made, canvas.region, mask.size).convert("RGBA")
    cut.putalpha(mask)
    return cut
