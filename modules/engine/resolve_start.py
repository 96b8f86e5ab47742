"""What exactly happens with a start picture? The part of `resolve` for requests that have one.

It reads a picture's size, not its pixels, except to hash them where the settings ask for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import ImageColor

from modules.domain.errors import InvalidRequest
from modules.domain.img2img import Img2Img, Inpaint, Outpaint
from modules.domain.plans import InpaintPlan, StartPlan
from modules.domain.requests import MAX_SIDE, SIZE_STEP, GenerationRequest
from modules.engine.canvas import input_shape, open_input, sides_of
from modules.imaging.files import pixel_hash
from modules.imaging.outpaint import grown_size
from modules.sampling.partial import kept_steps
from modules.sampling.registry import SamplerRow
from modules.settings.paths import input_file
from modules.settings.schema import Settings

Size = tuple[int, int]


def start_plan(
    request: GenerationRequest, init: Img2Img, settings: Settings, row: SamplerRow, inputs: Path
) -> tuple[StartPlan, Size, tuple[str, ...]]:
    """(the plan of the start picture, the size to draw in, notes). `inputs` is the folder of the pictures.

    Raises `ImageUnreadable` where a picture is gone, and `InvalidRequest` for a size that can't be.
    """
    chosen = settings.img2img
    image = _file(inputs, init.image)
    source, mode = input_shape(image)
    inpaint = request.inpaint
    size, notes = _size(request, init, inpaint, source)
    if inpaint is not None and inpaint.mask is None and inpaint.outpaint is None and mode != "RGBA":
        raise InvalidRequest("There is nothing to inpaint: paint a mask, or choose a picture that has transparent parts.")
    plan = StartPlan(
        image=image,
        denoising_strength=init.denoising_strength,
        walked=_walked(request.steps, init.denoising_strength, row, exact=chosen.exact_steps),
        exact_steps=chosen.exact_steps,
        resize_mode=init.resize_mode,
        noise_multiplier=chosen.noise_multiplier,
        conditional_weight=chosen.mask_weight,
        color_correction=chosen.color_correction,
        colors_of=_file(inputs, init.colors_of) if init.colors_of and chosen.color_correction else None,
        background=_colour(chosen.background),
        image_hash=pixel_hash(open_input(image)) if settings.saving.save_start_image else None,
        extras=tuple(_extras(settings, inpaint)),
        inpaint=_inpaint_plan(inpaint, settings, inputs) if inpaint else None,
    )
    return plan, size, notes


def _inpaint_plan(asked: Inpaint, settings: Settings, inputs: Path) -> InpaintPlan:
    return InpaintPlan(
        mask=_file(inputs, asked.mask) if asked.mask else None,
        from_alpha=asked.mask_alpha or (asked.mask is None and asked.outpaint is None),
        invert=asked.invert,
        blur_x=asked.mask_blur_x,
        blur_y=asked.mask_blur_y,
        content=asked.content,
        only_masked=asked.only_masked,
        padding=asked.padding,
        overlay=settings.img2img.overlay,
        soft=asked.soft,
        outpaint=asked.outpaint,
    )


def _size(request: GenerationRequest, init: Img2Img, inpaint: Inpaint | None, source: Size) -> tuple[Size, tuple[str, ...]]:
    """(the size to draw in, notes): what was asked for, or what the picture decides."""
    asked = (request.width, request.height)
    if inpaint is not None and inpaint.outpaint is not None:
        whole = _grown(inpaint.outpaint, source)
        return (asked, ()) if inpaint.only_masked else _decided(whole, asked, "outpainting makes the picture grow to that")
    if init.resize_by is None:
        return asked, ()
    scaled = tuple(max(2 * SIZE_STEP, int(side * init.resize_by / SIZE_STEP) * SIZE_STEP) for side in source)
    if max(scaled) > MAX_SIDE:
        raise InvalidRequest(f"Resize by {init.resize_by:g} would make {scaled[0]}x{scaled[1]}; {MAX_SIDE} pixels a side are the most.")
    return _decided((scaled[0], scaled[1]), asked, f"that is {init.resize_by:g} times the start picture's size")


def _decided(size: Size, asked: Size, reason: str) -> tuple[Size, tuple[str, ...]]:
    note = f"It was drawn in {size[0]}x{size[1]} and not in {asked[0]}x{asked[1]}: {reason}."
    return size, (note,) if size != asked else ()


def _grown(outpaint: Outpaint, source: Size) -> Size:
    size, _ = grown_size(source, sides_of(outpaint), SIZE_STEP)
    if max(size) > MAX_SIDE:
        raise InvalidRequest(f"Outpainting would make a picture of {size[0]}x{size[1]}; {MAX_SIDE} pixels a side are the most.")
    return size


def _walked(steps: int, strength: float, row: SamplerRow, *, exact: bool) -> int:
    """How many steps the progress counts."""
    if strength == 0 and exact:
        return 0
    kept = steps - 1 if exact else kept_steps(steps, strength)
    return kept if row.variance_preserving else kept + 1


def _extras(settings: Settings, inpaint: Inpaint | None) -> Iterator[str]:
    """The pictures beside the result that are to be saved or shown."""
    saving, chosen = settings.saving, settings.img2img
    if inpaint is not None and (saving.save_mask or chosen.return_mask):
        yield "mask"
    if inpaint is not None and (saving.save_mask_composite or chosen.return_mask_composite):
        yield "mask_composite"
    if chosen.color_correction and saving.save_before_color_correction:
        yield "before_color_correction"


def _file(inputs: Path, name: str) -> str:
    path = input_file(inputs, name)
    if path is None:
        raise InvalidRequest("The start picture is not one that was uploaded: choose it again.")
    return str(path)


def _colour(text: str) -> str:
    try:
        ImageColor.getrgb(text)
    except ValueError:
        raise InvalidRequest(f"Settings, img2img: {text!r} is no colour. Write it like #ffffff.") from None
    return text
