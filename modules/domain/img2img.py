"""What was asked of a picture that begins from another one: img2img, inpainting, outpainting. Part of a `GenerationRequest`.

Pictures are ids of `gallery.inputs.InputStore`; nothing here holds or reads one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modules.domain.checks import check, check_picture_id, check_range

MAX_BLUR = 512
MAX_PADDING = 4096
MAX_OUTPAINT = 4096

RESIZE_MODES = ("just_resize", "crop_and_resize", "resize_and_fill", "latent")
"""How a picture of another shape becomes the wanted size, in A1111's order: its number there is the position here."""

RESIZE_LABELS = {
    "just_resize": "Just resize",
    "crop_and_resize": "Crop and resize",
    "resize_and_fill": "Resize and fill",
    "latent": "Just resize (latent upscale)",
}
"""What the page and the infotext call them."""

MASKED_CONTENTS = ("fill", "original", "latent_noise", "latent_nothing")
"""What the masked part begins from, in A1111's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Img2Img:
    """The picture to begin from. With `resize_by` the result is that many times as large as it, whatever the request's width and height."""

    image: str
    denoising_strength: float = 0.75
    resize_mode: str = "just_resize"
    resize_by: float | None = None
    colors_of: str | None = None
    """The picture whose colours the result is corrected to, where the settings want that; None is `image` itself."""

    def __post_init__(self) -> None:
        check(bool(self.image), "Choose a picture to begin from.")
        check_picture_id(self.image)
        if self.colors_of is not None:
            check_picture_id(self.colors_of)
        check_range("Denoising strength", self.denoising_strength, 0.0, 1.0)
        check(self.resize_mode in RESIZE_MODES, f"Resize mode must be one of {', '.join(RESIZE_MODES)}, not {self.resize_mode!r}.")
        if self.resize_by is not None:
            check_range("Resize by", self.resize_by, 0.05, 16.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftInpainting:
    """Each pixel is drawn anew as strongly as its mask is bright, rather than at all or not. Names and defaults are A1111's extension's."""

    schedule_bias: float = 1.0
    """Above 1 keeps more of the picture in the early steps, below 1 in the late ones."""
    preservation_strength: float = 0.5
    """How much of the picture partly masked pixels keep."""
    transition_contrast_boost: float = 4.0
    """How much of both pictures' contrast is kept where they are mixed."""
    mask_influence: float = 0.0
    """How much the mask, and not only what has changed, decides which pixels are put back."""
    difference_threshold: float = 0.5
    """How much must change for a pixel to be half replaced."""
    difference_contrast: float = 2.0
    """How sharp the change from kept to replaced is."""

    def __post_init__(self) -> None:
        check_range("Schedule bias", self.schedule_bias, 0.0, 8.0)
        check_range("Preservation strength", self.preservation_strength, 0.0, 8.0)
        check_range("Transition contrast boost", self.transition_contrast_boost, 1.0, 32.0)
        check_range("Mask influence", self.mask_influence, 0.0, 1.0)
        check_range("Difference threshold", self.difference_threshold, 0.0, 8.0)
        check_range("Difference contrast", self.difference_contrast, 0.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpaint:
    """By how many pixels the picture grows on each side."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        for name, pixels in (("left", self.left), ("right", self.right), ("top", self.top), ("bottom", self.bottom)):
            check_range(f"Outpainting to the {name}", pixels, 0, MAX_OUTPAINT)
        check(self.left + self.right + self.top + self.bottom > 0, "Outpainting: say by how many pixels a side is to grow.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpaint:
    """Which part of the picture is drawn anew: where `mask` is bright, or (`invert`) dark.

    A mask that has transparency is read from that, as A1111 does: what is opaque is masked. `mask` of None: the picture's own transparent
    part is the mask, which `mask_alpha` adds to one that is given.
    """

    mask: str | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    invert: bool = False
    content: str = "original"
    only_masked: bool = False
    padding: int = 32
    mask_alpha: bool = False
    soft: SoftInpainting | None = None
    outpaint: Outpaint | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            check_picture_id(self.mask)
        check_range("Mask blur", self.mask_blur_x, 0, MAX_BLUR)
        check_range("Mask blur", self.mask_blur_y, 0, MAX_BLUR)
        check(self.content in MASKED_CONTENTS, f"Masked content must be one of {', '.join(MASKED_CONTENTS)}, not {self.content!r}.")
        check_range("Only masked padding", self.padding, 0, MAX_PADDING)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Inpaint:
        """What `GenerationRequest.to_json` made of one."""
        values = dict(data)
        if values.get("soft") is not None:
            values["soft"] = SoftInpainting(**values["soft"])
        if values.get("outpaint") is not None:
            values["outpaint"] = Outpaint(**values["outpaint"])
        return cls(**values)


def check_together(init: Img2Img | None, inpaint: Inpaint | None, *, hires: bool) -> None:
    """Raise `InvalidRequest` where parts of a request exclude each other."""
    if init is not None:
        check(not hires, "Hires. fix is for pictures made from noise. Leave it out, and set the size that you want for this one.")
    if inpaint is None:
        return
    check(init is not None, "Inpainting needs a picture: choose one.")
    if init is not None and inpaint.outpaint is not None:
        check(init.resize_by is None, "Outpainting adds to the picture as it is: resize it before, or afterwards.")
    if init is not None and init.resize_mode == "latent":
        check(inpaint.outpaint is None, "Outpainting does not resize: choose another resize mode than the latent one.")
