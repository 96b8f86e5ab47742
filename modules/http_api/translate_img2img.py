"""What does an A1111 img2img body ask for? The parts about the picture to begin from and its mask; the rest is `translate`'s."""

from __future__ import annotations

from collections.abc import Callable

from modules.domain.img2img import MASKED_CONTENTS, RESIZE_MODES, Img2Img, Inpaint
from modules.gallery.inputs import StoredInput
from modules.http_api.errors import Refusal
from modules.http_api.models import Img2ImgBody
from modules.http_api.scripts import soft_inpainting
from modules.http_api.translate import Draft, Sources, Translated, begun, finished, whole_step

Put = Callable[[str], StoredInput]
"""Keeps a picture that came with the request, and says its id."""

_NOISE = "initial_noise_multiplier"


def from_img2img(body: Img2ImgBody, sources: Sources, put: Put, put_grey: Put) -> Translated:
    """What a completed img2img body asks for; its pictures are kept through `put`, a mask whose opacity is not to be rounded through
    `put_grey`, as the grey it stands for. Raises as `from_txt2img` does, and what these raise.
    """
    first = _only_picture(body)
    draft, styles = begun(body, sources)
    draft.fields |= {
        "width": whole_step(draft, "width", body.width),
        "height": whole_step(draft, "height", body.height),
        "init": Img2Img(image=put(first).id, denoising_strength=body.denoising_strength, resize_mode=RESIZE_MODES[body.resize_mode]),
        "inpaint": _inpaint(body, put if body.mask_round else put_grey) if body.mask else None,
    }
    _put_noise(body, draft)
    return finished(draft, styles)


def _only_picture(body: Img2ImgBody) -> str:
    pictures = body.init_images or []
    if not pictures:
        raise Refusal(404, "Init image not found", "img2img needs a picture in init_images.")
    if len(pictures) > 1:
        raise Refusal(422, "One picture a request", "init_images takes one picture here: send a request for each.")
    return pictures[0]


def _inpaint(body: Img2ImgBody, put: Put) -> Inpaint:
    blur_x = body.mask_blur_x if body.mask_blur is None else body.mask_blur
    blur_y = body.mask_blur_y if body.mask_blur is None else body.mask_blur
    return Inpaint(
        mask=put(body.mask or "").id,
        mask_blur_x=blur_x,
        mask_blur_y=blur_y,
        invert=body.inpainting_mask_invert != 0,
        content=MASKED_CONTENTS[body.inpainting_fill],
        only_masked=body.inpaint_full_res,
        padding=body.inpaint_full_res_padding,
        soft=soft_inpainting(body),
    )


def _put_noise(body: Img2ImgBody, draft: Draft) -> None:
    if body.initial_noise_multiplier is not None:
        draft.options[_NOISE] = body.initial_noise_multiplier
