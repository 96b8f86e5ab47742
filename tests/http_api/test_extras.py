"""extra-single-image and extra-batch-images: A1111's fields, defaults and answers, and what is refused."""

from __future__ import annotations

import base64
import io
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modules.domain.extras import ExtrasRequest
from modules.gallery import gallery
from modules.imaging.files import encode_image, read_infotext
from tests.drawn_faces import with_faces
from tests.http_api.front import CATALOG, Front, picture
from tests.tiny_faces import write_restorer

SOURCE = "a cat\nSteps: 4, Sampler: Euler, Seed: 12, Size: 64x48"


def with_parameters(width: int = 64, height: int = 48) -> str:
    return base64.b64encode(encode_image(Image.new("RGB", (width, height), "red"), "png", SOURCE)).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_picture_twice_as_large_with_its_parameters(shared: Front):
    answer = shared.post("extra-single-image", {"image": with_parameters(), "upscaler_1": "Lanczos"})
    assert set(answer) == {"html_info", "image"}
    result = opened(answer["image"])
    assert result.size == (128, 96)
    assert result.info == {"parameters": SOURCE, "extras": "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"}
    assert read_infotext(io.BytesIO(base64.b64decode(answer["image"]))) == SOURCE
    assert answer["html_info"].startswith("<p>a cat\n") and "Postprocess upscaler: Lanczos</p>" in answer["html_info"]
    assert not list(shared.context.paths.outputs.glob("extras-images/**/*.png")), "A1111's routes keep nothing"


def test_without_an_upscaler_the_picture_is_as_it_was_and_text_is_escaped(shared: Front):
    evil = base64.b64encode(encode_image(Image.new("RGB", (8, 8)), "png", "<script>")).decode()
    answer = shared.post("extra-single-image", {"image": f"data:image/png;base64,{evil}"})
    assert opened(answer["image"]).size == (8, 8)
    assert "<script>" not in answer["html_info"] and "&lt;script&gt;" in answer["html_info"] and "left as it was" in answer["html_info"]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"upscaling_resize": 3}, (192, 144)),
        ({"upscaling_resize": "1.5", "upscaling_resize_w": 0}, (96, 72)),
        ({"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 100}, (100, 100)),
        ({"resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 96, "upscaling_crop": False}, (128, 96)),
        ({"resize_mode": 1, "upscaling_resize": 0}, (512, 512)),
        ({"upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.5, "upscale_first": True, "show_extras_results": False}, (128, 96)),
        ({"upscaler_2": None, "codeformer_weight": 0.5, "gfpgan_visibility": None}, (128, 96)),
    ],
)
def test_sizes_and_nulls(shared: Front, fields: dict[str, Any], size: tuple[int, int]):
    assert opened(shared.post("extra-single-image", {"image": picture(), "upscaler_1": "nearest", **fields})["image"]).size == size


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"image": ""}, 404, "Image not found"),
        ({"image": "AAAA"}, 422, "can't be used"),
        ({"image": "%%%"}, 422, "Invalid encoded image"),
        ({"resize_mode": 2}, 422, "resize_mode"),
        ({"upscaler_1": "Dream"}, 422, "no upscaler called 'Dream'"),
        ({"upscaling_resize": 0}, 422, "Resize"),
        ({"upscaling_resize": 1000}, 422, "Resize"),
        ({"resize_mode": 1, "upscaling_resize_w": 0}, 422, "Width"),
        ({"extras_upscaler_2_visibility": 2}, 422, "visibility"),
        ({"gfpgan_visibility": 0.5}, 422, "There is no GFPGAN here. Put its weights (GFPGANv1.4.pth"),
        ({"codeformer_visibility": 1}, 422, "into models/Codeformer"),
        ({"codeformer_visibility": 1.5}, 422, "CodeFormer visibility"),
        ({"image": picture(8000, 8), "upscaling_resize": 4, "upscaler_1": "Nearest"}, 422, "32000x32"),
        ({"upscaler_1": "2x_Sharp"}, 500, "2x_Sharp.pth can't be loaded"),
    ],
)
def test_what_is_refused_says_why(shared: Front, fields: dict[str, Any], status: int, words: str):
    assert words in shared.post("extra-single-image", {"image": picture(), **fields}, status)["errors"]


def test_faces_are_restored_where_the_weights_are(own: Front, tmp_path: Path):
    restorer = write_restorer(tmp_path / "GFPGAN" / "RestoreFormer.pth")
    own.catalog.current = replace(CATALOG, face_restorers=(restorer,))
    assert own.get("face-restorers") == [{"name": "GFPGAN", "cmd_dir": str(tmp_path / "GFPGAN")}]
    face = base64.b64encode(encode_image(Image.fromarray(with_faces((240, 200), (60, 40, 120))), "png", SOURCE)).decode()
    asked = {"image": face, "upscaler_1": "Nearest", "gfpgan_visibility": 0.5}
    first, last = (own.post("extra-single-image", {**asked, "upscale_first": order}) for order in (True, False))
    assert opened(first["image"]).info["extras"].endswith("Postprocess upscaler: Nearest, GFPGAN visibility: 0.5")
    assert "GFPGAN visibility: 0.5</p>" in last["html_info"]
    assert own.post("extra-single-image", asked)["image"] == last["image"], "enlarged last, where nothing is said"
    plain = opened(face).resize((480, 400), Image.Resampling.NEAREST)
    pictures = [opened(answer["image"]) for answer in (first, last)]
    assert pictures[0].tobytes() != pictures[1].tobytes() and plain.tobytes() not in [each.tobytes() for each in pictures]
    batch = own.post("extra-batch-images", {"imageList": [{"data": picture(), "name": "a.png"}], "gfpgan_visibility": 1})
    assert "No faces were found" in batch["html_info"]
    problem = own.post("extra-single-image", {**asked, "codeformer_visibility": 1}, 422)
    assert "There is no CodeFormer here" in problem["errors"]


def test_a_batch_comes_back_in_its_order(shared: Front):
    files = [{"data": picture(8 * number, 8), "name": f"../../{number}.png"} for number in range(1, 4)]
    answer = shared.post("extra-batch-images", {"imageList": files, "upscaler_1": "Lanczos", "upscaling_resize": 2})
    assert set(answer) == {"html_info", "images"}
    assert [opened(image).size for image in answer["images"]] == [(16 * number, 16) for number in range(1, 4)]
    assert shared.context.queue.list(limit=1)[0].request.name == "3.png"


def test_a_batch_is_complete_also_where_it_is_longer_than_what_is_kept_unsaved(own: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery, "UNSAVED_KEPT", 2)
    files = [{"data": picture(8 * number, 8), "name": f"{number}.png"} for number in range(1, 8)]
    answer = own.post("extra-batch-images", {"imageList": files, "upscaler_1": "Lanczos", "upscaling_resize": 2})
    assert [opened(image).width for image in answer["images"]] == [16 * number for number in range(1, 8)]


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        (None, 422, "imageList"),
        ([], 404, "needs pictures"),
        ([{"data": picture()}], 422, "name"),
        ([{"data": picture(), "name": "a"}, {"data": "AAAA", "name": "b"}], 422, "Picture 2 of 2"),
    ],
)
def test_of_a_batch_that_can_t_be_read_nothing_is_begun(shared: Front, files: Any, status: int, words: str):
    before = len(shared.context.queue.list(limit=1000))
    problem = shared.post("extra-batch-images", {"imageList": files} if files is not None else {}, status)
    assert words in problem["errors"]
    assert len(shared.context.queue.list(limit=1000)) == before


def test_as_a_job_of_its_own_it_is_kept(shared: Front):
    body = {"extras": {"image": with_parameters(), "upscaler_1": "Lanczos", "upscaling_resize": 2}}
    reply = shared.client.post("/api/v1/jobs", json=body, headers={"Accept": "image/png", "Idempotency-Key": "once"})
    assert reply.status_code == 200 and Image.open(io.BytesIO(reply.content)).size == (128, 96)
    again = shared.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "once"}).json()
    assert again["state"] == "done" and again["images"][0]["width"] == 128 and again["prompt"] == ""
    other = {"extras": {**body["extras"], "upscaling_resize": 3}}
    assert shared.client.post("/api/v1/jobs", json=other, headers={"Idempotency-Key": "once"}).status_code == 422
    assert list(shared.context.paths.outputs.glob("extras-images/**/*.png"))
    assert shared.client.post("/api/v1/jobs", json={**body, "txt2img": {"prompt": "draw"}}).status_code == 422
    assert shared.get("progress")["progress"] == 0


def test_a_waiting_batch_that_is_cancelled_says_so_and_leaves_nothing_behind(own: Front):
    """Behind a slow job both wait; the client's own connection is another one than that which cancels."""
    slow = own.client.post("/api/v1/jobs", json={"txt2img": {"prompt": "slow", "steps": 150, "n_iter": 20}}).json()
    files = [{"data": picture(), "name": f"{number}.png"} for number in range(2)]

    def cancel_all() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            waiting = [job for job in own.context.queue.list(active_only=True) if isinstance(job.request, ExtrasRequest)]
            if len(waiting) == 2:
                for job in waiting:
                    own.context.queue.interrupt(job.id)
                return
            time.sleep(0.01)

    other = threading.Thread(target=cancel_all)
    other.start()
    problem = own.post("extra-batch-images", {"imageList": files, "upscaler_1": "Lanczos"}, 409)
    other.join()
    assert "interrupted" in problem["errors"]
    own.context.queue.interrupt(slow["id"])
    assert own.post("extra-single-image", {"image": picture(), "upscaler_1": "Lanczos"})["image"]
