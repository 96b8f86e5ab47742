"""/sdapi/v1/img2img: A1111's fields about the picture and its mask become parts of the request; bad pictures are told apart."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from modules.domain.img2img import RESIZE_MODES, Img2Img, Inpaint, SoftInpainting
from modules.domain.jobs import Job
from tests.http_api.front import Front, picture


def drawn(front: Front, **body: Any) -> tuple[dict[str, Any], Job]:
    answer = front.post("img2img", {"prompt": "draw", "steps": 2, "init_images": [picture()], **body})
    job = front.context.queue.get(json.loads(answer["info"])["job_id"])
    assert job is not None
    return answer, job


def test_the_picture_is_kept_and_the_defaults_are_a1111s(shared: Front):
    answer, job = drawn(shared)
    init = job.request.init
    assert init == Img2Img(image=init.image, denoising_strength=0.75, resize_mode="just_resize") and job.request.inpaint is None
    assert shared.context.inputs.open(init.image).size == (64, 48)
    assert len(answer["images"]) == 1 and answer["parameters"]["init_images"] is None and answer["parameters"]["mask"] is None


@pytest.mark.parametrize(("number", "mode"), list(enumerate(RESIZE_MODES)))
def test_resize_modes_by_number(shared: Front, number: int, mode: str):
    assert drawn(shared, resize_mode=number, denoising_strength=0.3)[1].request.init.resize_mode == mode


def test_mask_fields(shared: Front):
    mask = picture(mode="L")
    assert drawn(shared, mask=mask)[1].request.inpaint == Inpaint(
        mask=shared.context.inputs.put(base64.b64decode(mask)).id, content="fill", only_masked=True, padding=0
    )
    body = {
        "mask": mask,
        "mask_blur": 9,
        "inpainting_fill": 2,
        "inpaint_full_res": False,
        "inpaint_full_res_padding": 16,
        "inpainting_mask_invert": 1,
        "alwayson_scripts": {"Soft Inpainting": {"args": [True, 1.5, 0.25]}},
    }
    inpaint = drawn(shared, **body)[1].request.inpaint
    assert (inpaint.mask_blur_x, inpaint.mask_blur_y, inpaint.content, inpaint.only_masked) == (9, 9, "latent_noise", False)
    assert (inpaint.padding, inpaint.invert) == (16, True)
    assert inpaint.soft == SoftInpainting(schedule_bias=1.5, preservation_strength=0.25)


def test_pictures_come_back_where_they_are_asked_for(shared: Front):
    answer, _ = drawn(shared, include_init_images=True)
    assert answer["parameters"]["init_images"] == [picture()]


def test_a_mask_s_opacity_is_rounded_or_not(shared: Front):
    glass = Image.new("RGBA", (64, 64), (255, 255, 255, 100))
    file = io.BytesIO()
    glass.save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    found = {}
    for rounded in (True, False):
        inpaint = drawn(shared, mask=mask, mask_round=rounded)[1].request.inpaint
        assert inpaint is not None and inpaint.mask is not None
        found[rounded] = shared.context.inputs.open(inpaint.mask)
    assert found[True].mode == "RGBA" and found[True].getpixel((3, 3)) == (255, 255, 255, 100)  # the engine rounds it
    assert found[False].getpixel((3, 3)) == (100, 100, 100)


def test_an_infotext_fills_the_mask_fields_too(shared: Front):
    text = (
        "a cat\nSteps: 7, Sampler: Euler, Seed: 42, Size: 64x96, Denoising strength: 0.4, Resize mode: Crop and resize, Mask blur x: 3, "
        "Mask blur y: 5, Inpaint area: Only masked, Masked area padding: 8, Masked content: latent noise, Mask mode: Inpaint not masked, "
        "Noise multiplier: 0.9, Soft inpainting enabled: True, Soft inpainting schedule bias: 1.5, Version: v1.10.1"
    )
    _, job = drawn(shared, prompt=None, infotext=text, mask=picture(mode="L"))
    init, inpaint = job.request.init, job.request.inpaint
    assert (init.denoising_strength, init.resize_mode, job.request.width) == (0.4, "crop_and_resize", 64)
    assert inpaint.soft == SoftInpainting(schedule_bias=1.5) and job.settings.img2img.noise_multiplier == 0.9
    assert (inpaint.mask_blur_x, inpaint.mask_blur_y, inpaint.padding, inpaint.content) == (3, 5, 8, "latent_noise")
    assert inpaint.only_masked and inpaint.invert


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "data:;base64,", "data:image/png;name=a.png;base64,"])
def test_base64_bare_and_in_data_urls(shared: Front, head: str):
    text = picture()
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert drawn(shared, init_images=[head + wrapped])[1].request.init


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP", "BMP"])
def test_pictures_of_other_formats(shared: Front, fmt: str):
    assert drawn(shared, init_images=[picture(fmt=fmt)])[1].request.init


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({}, 404, "Init image not found"),
        ({"init_images": None}, 404, "Init image not found"),
        ({"init_images": []}, 404, "Init image not found"),
        ({"init_images": ["no base64!"]}, 422, "Invalid encoded image"),
        ({"init_images": ["data:image/png;base64,"]}, 422, "Invalid encoded image"),
        ({"init_images": [""]}, 422, "Invalid encoded image"),
        ({"init_images": ["AAAA"]}, 422, "The picture can't be used"),
        ({"init_images": [picture()[:60]]}, 422, "picture"),
        ({"init_images": [picture(), picture()]}, 422, "One picture a request"),
        ({"init_images": [picture()], "mask": "AAAA"}, 422, "The picture can't be used"),
        ({"init_images": [picture()], "denoising_strength": 2}, 422, "Denoising strength"),
        ({"init_images": [picture()], "resize_mode": 9}, 422, "resize_mode"),
        ({"init_images": [picture()], "alwayson_scripts": {"soft inpainting": {"args": [True, "a"]}}, "mask": picture()}, 422, "number"),
        ({"init_images": ["http://127.0.0.1:1/x.png"]}, 422, "Requests not allowed"),
        ({"init_images": ["file:///etc/passwd"]}, 422, "Invalid encoded image"),
    ],
)
def test_bad_pictures(shared: Front, body: dict[str, Any], status: int, detail: str):
    problem = shared.post("img2img", body, status)
    assert detail in problem["errors"]
    assert len(problem["errors"]) < 1300
