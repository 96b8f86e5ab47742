"""How does a picture of one shape become one of another? A1111's resize modes. Pure pictures; knows no latents."""

from __future__ import annotations

from PIL import Image

Size = tuple[int, int]
"""(width, height)."""

_LANCZOS = Image.Resampling.LANCZOS


def fitted(picture: Image.Image, size: Size, mode: str) -> Image.Image:
    """The picture in `size`, by one of `domain.img2img.RESIZE_MODES` (latent: as just_resize). One that has the size stays as it is."""
    if picture.size == size:
        return picture.copy()
    if mode == "crop_and_resize":
        return _cropped(picture, size)
    return _with_margins(picture, size) if mode == "resize_and_fill" else picture.resize(size, _LANCZOS)


def flattened(picture: Image.Image, background: str) -> Image.Image:
    """RGB; what is transparent shows `background`, a colour as CSS writes it."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    under = Image.new("RGBA", picture.size, background)
    under.alpha_composite(picture)
    return under.convert("RGB")


def _cropped(picture: Image.Image, size: Size) -> Image.Image:
    """So large that it covers `size`; the middle of that."""
    width, height = size
    is_wider = width * picture.height > height * picture.width
    inner = (width, picture.height * width // picture.width) if is_wider else (picture.width * height // picture.height, height)
    made = Image.new(picture.mode, size)
    made.paste(picture.resize(inner, _LANCZOS), (width // 2 - inner[0] // 2, height // 2 - inner[1] // 2))
    return made


def _with_margins(picture: Image.Image, size: Size) -> Image.Image:
    """So large that `size` covers it, in its middle; what is left over continues the outermost row or column."""
    width, height = size
    is_narrower = width * picture.height < height * picture.width
    inner = (width, picture.height * width // picture.width) if is_narrower else (picture.width * height // picture.height, height)
    small = picture.resize((max(1, inner[0]), max(1, inner[1])), _LANCZOS)
    left, top = width // 2 - small.width // 2, height // 2 - small.height // 2
    made = Image.new(picture.mode, size)
    made.paste(small, (left, top))
    if top > 0:
        made.paste(small.crop((0, 0, width, 1)).resize((width, top)), (0, 0))
        below = height - top - small.height
        made.paste(small.crop((0, small.height - 1, width, small.height)).resize((width, max(1, below))), (0, top + small.height))
    elif left > 0:
        made.paste(small.crop((0, 0, 1, height)).resize((left, height)), (0, 0))
        beside = width - left - small.width
        made.paste(small.crop((small.width - 1, 0, small.width, height)).resize((max(1, beside), height)), (left + small.width, 0))
    return made
