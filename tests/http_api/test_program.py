"""The real program without its page, with the checkpoint that comes with it: what docs/api.md says works as it is written there."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from modules.imaging.files import read_infotext
from tests.webui_process import ROOT, WebUI

SMALL = {"prompt": "a red apple", "steps": 2, "width": 128, "height": 128, "seed": 7}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    models = str(ROOT / "models" / "Stable-diffusion")
    made = WebUI(tmp_path_factory.mktemp("data"), ("--nowebui", "--ckpt-dir", models, "--api-server-stop", "--use-cpu")).start()
    yield made
    made.stop()


def post(program: WebUI, path: str, **body: Any) -> dict[str, Any]:
    reply = httpx.post(f"{program.url}/sdapi/v1/{path}", json=body, timeout=240)
    assert reply.status_code == 200, reply.text[:500]
    return reply.json()


def file_of(answer: dict[str, Any]) -> bytes:
    return base64.b64decode(answer["images"][0])


def test_txt2img_and_its_parameters(program: WebUI):
    answer = post(program, "txt2img", **SMALL)
    info = json.loads(answer["info"])
    text = read_infotext(io.BytesIO(file_of(answer)))
    assert Image.open(io.BytesIO(file_of(answer))).size == (128, 128)
    assert text == info["infotexts"][0] and "Seed: 7" in text and info["all_seeds"] == [7] and info["sd_model_name"] == "starter"
    again = post(program, "txt2img", infotext=text)
    assert Image.open(io.BytesIO(file_of(again))).tobytes() == Image.open(io.BytesIO(file_of(answer))).tobytes()


def test_a_wrong_verb_is_told_from_a_path_that_is_not_there(program: WebUI):
    for verb, path, status in (
        ("GET", "sdapi/v1/txt2img", 405),
        ("POST", "sdapi/v1/progress", 405),
        ("DELETE", "api/v1/jobs", 405),
        ("GET", "sdapi/v1/nothing", 404),
        ("GET", "sdapi/v1/samplers", 200),
    ):
        reply = httpx.request(verb, f"{program.url}/{path}", timeout=30)
        assert reply.status_code == status, (verb, path)
        assert ("allow" in reply.headers) is (status == 405)


def test_a_grid_comes_first_where_pictures_are_kept(program: WebUI):
    answer = post(program, "txt2img", **SMALL, batch_size=2, save_images=True)
    info = json.loads(answer["info"])
    sizes = [Image.open(io.BytesIO(base64.b64decode(image))).size for image in answer["images"]]
    assert sizes == [(256, 128), (128, 128), (128, 128)] and info["index_of_first_image"] == 1
    assert info["all_seeds"] == [7, 8] and len(info["infotexts"]) == 3
    assert len(list((program.data / "outputs").glob("txt2img-images/**/*.png"))) == 2


def test_other_formats(program: WebUI):
    for name, fmt in (("jpg", "JPEG"), ("webp", "WEBP")):
        file = file_of(post(program, "txt2img", **SMALL, override_settings={"samples_format": name}))
        assert Image.open(io.BytesIO(file)).format == fmt and "Steps: 2" in read_infotext(io.BytesIO(file))


def test_img2img_keeps_what_the_mask_covers(program: WebUI):
    start = file_of(post(program, "txt2img", **SMALL))
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (64, 0, 128, 128))
    out = io.BytesIO()
    mask.save(out, "PNG")
    body = {**SMALL, "seed": 8, "init_images": [base64.b64encode(start).decode()], "denoising_strength": 0.9}
    masked = {"mask": base64.b64encode(out.getvalue()).decode(), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False}
    before, whole, part = (
        Image.open(io.BytesIO(file)).convert("RGB")
        for file in (start, file_of(post(program, "img2img", **body)), file_of(post(program, "img2img", **body, **masked)))
    )
    left = (0, 0, 56, 128)
    assert part.crop(left).tobytes() == before.crop(left).tobytes() != whole.crop(left).tobytes()
    assert part.tobytes() != before.tobytes()
    shown = post(program, "img2img", **body, **masked, override_settings={"return_mask": True})
    assert len(shown["images"]) == 2 and json.loads(shown["info"])["all_seeds"] == [8]


def test_the_documented_client(program: WebUI, tmp_path: Path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.DOTALL)
    assert code is not None
    environment = {**os.environ, "WEBUI": program.url}
    done = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert [Image.open(path).size for path in sorted(tmp_path.glob("apple-*.png"))] == [(128, 128)] * 2
    assert done.stdout.splitlines()[0].startswith("0 1 Steps: 6")


def test_the_documented_curl_command(program: WebUI, tmp_path: Path):
    """Its parts, as curl would send them."""
    command = re.search(r"```bash\n(curl .*?)```", (ROOT / "docs" / "api.md").read_text("utf-8"), re.DOTALL)
    assert command is not None
    url, body = re.search(r"http://127.0.0.1:7860(\S+)", command[1]), re.search(r"-d '(.*?)'", command[1])
    headers = dict(pair.split(": ") for pair in re.findall(r"-H '(.*?)'", command[1]))
    assert url is not None and body is not None
    reply = httpx.post(program.url + url[1], content=body[1], headers=headers, timeout=240)
    assert reply.headers["content-type"] == "image/png" and Image.open(io.BytesIO(reply.content)).size == (128, 128)


def test_there_is_no_page_and_the_front_leads_to_the_documentation(program: WebUI):
    reply = httpx.get(program.url, follow_redirects=True)
    assert reply.status_code == 200 and "/sdapi/v1/txt2img" in reply.text and "gradio" not in reply.text
    assert httpx.get(f"{program.url}/config").status_code == 404


def test_it_can_be_stopped(program: WebUI):
    assert httpx.post(f"{program.url}/sdapi/v1/server-stop", timeout=30).text == "Stopping."
    assert program.process is not None and program.process.wait(60) == 0
