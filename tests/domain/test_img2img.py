"""Requests that begin from a picture: what is refused, and that the queue's JSON gives them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest
from modules.domain.img2img import Img2Img, Inpaint, Outpaint, SoftInpainting
from modules.domain.requests import GenerationRequest, HiresPass
from modules.gallery.inputs import InputStore
from tests.jobs.house import house

ID, MASK = "0123456789abcdef" * 2, "ab" * 16


def test_a1111s_defaults() -> None:
    init, inpaint, soft = Img2Img(image=ID), Inpaint(), SoftInpainting()
    assert (init.denoising_strength, init.resize_mode, init.resize_by) == (0.75, "just_resize", None)
    assert (inpaint.mask_blur_x, inpaint.mask_blur_y, inpaint.content, inpaint.padding) == (4, 4, "original", 32)
    assert not (inpaint.invert or inpaint.only_masked or inpaint.mask_alpha)
    assert (soft.schedule_bias, soft.preservation_strength, soft.transition_contrast_boost) == (1.0, 0.5, 4.0)
    assert (soft.mask_influence, soft.difference_threshold, soft.difference_contrast) == (0.0, 0.5, 2.0)


@pytest.mark.parametrize(
    "inpaint",
    [
        None,
        Inpaint(),
        Inpaint(mask=MASK, content="latent_noise", only_masked=True, mask_blur_y=9, soft=SoftInpainting(schedule_bias=2.0)),
        Inpaint(mask_alpha=True, outpaint=Outpaint(left=64, bottom=8)),
    ],
)
def test_the_queues_json_gives_the_request_back(inpaint: Inpaint | None) -> None:
    request = GenerationRequest(init=Img2Img(image=ID, denoising_strength=0.3, resize_mode="crop_and_resize"), inpaint=inpaint)
    assert GenerationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert request.inputs == ((ID, MASK) if inpaint and inpaint.mask else (ID,))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inpaint": Inpaint(mask=MASK)}, "needs a picture"),
        ({"init": Img2Img(image=ID), "hires": HiresPass()}, "Hires"),
        ({"init": Img2Img(image=ID, resize_by=2.0), "inpaint": Inpaint(outpaint=Outpaint(left=8))}, "Outpainting"),
        ({"init": Img2Img(image=ID, resize_mode="latent"), "inpaint": Inpaint(outpaint=Outpaint(left=8))}, "Outpainting"),
    ],
)
def test_what_excludes_each_other_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        GenerationRequest(**fields)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Img2Img, {"image": ""}, "Choose a picture"),
        (Img2Img, {"image": "../../etc/passwd"}, "not the id of a picture"),
        (Img2Img, {"image": ID, "denoising_strength": 1.5}, "Denoising strength"),
        (Img2Img, {"image": ID, "denoising_strength": float("nan")}, "Denoising strength"),
        (Img2Img, {"image": ID, "resize_mode": "stretch"}, "Resize mode"),
        (Img2Img, {"image": ID, "resize_by": 0.0}, "Resize by"),
        (Inpaint, {"mask": "x"}, "not the id of a picture"),
        (Inpaint, {"content": "blur"}, "Masked content"),
        (Inpaint, {"mask_blur_x": -1}, "Mask blur"),
        (Inpaint, {"padding": 99_999}, "padding"),
        (Outpaint, {}, "how many pixels"),
        (Outpaint, {"left": -8}, "left"),
        (SoftInpainting, {"transition_contrast_boost": 0.0}, "contrast boost"),
    ],
)
def test_values_out_of_range_are_named(kind: type, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        kind(**fields)


def test_the_queue_refuses_a_picture_that_is_gone_and_keeps_ids_only(tmp_path: Path) -> None:
    with house(tmp_path, start=False) as made:
        store = InputStore(made.paths.inputs, in_use=made.queue.inputs)
        kept = store.put_picture(Image.new("RGB", (64, 64), (10, 20, 30)))
        job = made.submit(init=Img2Img(image=kept.id))
        assert made.queue.inputs() == {kept.id}
        assert job.request.init == Img2Img(image=kept.id)
        with pytest.raises(InvalidRequest, match="not here any more"):
            made.submit(init=Img2Img(image=kept.id), inpaint=Inpaint(mask=MASK))
        picture = store.path(kept.id).read_bytes()
    database = b"".join(path.read_bytes() for path in tmp_path.rglob("jobs.sqlite*"))
    assert kept.id.encode() in database
    assert picture not in database and b"IHDR" not in database
