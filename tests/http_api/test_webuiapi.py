"""webuiapi, a client that many programs are built on, as it is published, against the real program with the starter checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import webuiapi
from PIL import Image, ImageDraw

from tests.webui_process import ROOT, WebUI

SMALL = {"steps": 2, "width": 128, "height": 128, "seed": 7, "cfg_scale": 5.0, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    flags = ("--nowebui", "--models-dir", str(ROOT / "models"), "--use-cpu")
    made = WebUI(tmp_path_factory.mktemp("data"), flags).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(program: WebUI) -> Any:
    return webuiapi.WebUIApi(host="127.0.0.1", port=urlsplit(program.url).port)


@pytest.fixture(scope="module")
def drawn(client: Any) -> Any:
    return client.txt2img(prompt="a cat on a red background", batch_size=2, **SMALL)


def test_txt2img(drawn: Any) -> None:
    assert [image.size for image in drawn.images] == [(128, 128)] * 2
    assert drawn.info["all_seeds"] == [7, 8]
    assert "Steps: 2, Sampler: Euler" in drawn.info["infotexts"][0]


def test_img2img_with_a_mask(client: Any, drawn: Any) -> None:
    mask = Image.new("RGB", (128, 128))
    ImageDraw.Draw(mask).rectangle((40, 40, 90, 90), fill="white")
    answer = client.img2img(
        images=[drawn.images[0]], prompt="an apple", mask_image=mask, mask_blur=0, inpainting_fill=1, denoising_strength=0.9, **SMALL
    )
    before, after = np.asarray(drawn.images[0].convert("RGB")), np.asarray(answer.image.convert("RGB"))
    outside = np.asarray(mask)[..., 0] == 0
    assert np.array_equal(after[outside], before[outside])
    assert (after[~outside] != before[~outside]).any(axis=-1).mean() > 0.8


def test_extras(client: Any, drawn: Any) -> None:
    one = client.extra_single_image(drawn.images[0], upscaler_1="Lanczos", upscaling_resize=2)
    assert one.image.size == (256, 256)
    several = client.extra_batch_images(drawn.images, upscaler_1="starter-x2", upscaling_resize=2)
    assert [image.size for image in several.images] == [(256, 256)] * 2
    assert np.asarray(several.images[0].convert("RGB")).std() > 20


def test_png_info_options_lists_and_progress(client: Any, drawn: Any) -> None:
    assert client.png_info(drawn.images[0]).info == drawn.info["infotexts"][0]
    assert client.set_options({"CLIP_stop_at_last_layers": 2}) is None
    assert client.get_options()["CLIP_stop_at_last_layers"] == 2
    client.set_options({"CLIP_stop_at_last_layers": 1})
    assert "Euler a" in client.util_get_sampler_names()
    assert client.util_get_model_names() == [client.get_options()["sd_model_checkpoint"]]
    assert "starter-x2" in [row["name"] for row in client.get_upscalers()]
    assert client.get_progress()["progress"] == 0


def test_interrupt_ends_a_job_and_the_client_gets_what_there_is(client: Any) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.txt2img(prompt="a dog", **{**SMALL, "steps": 150, "width": 256})))
    thread.start()
    while client.get_progress()["state"]["job_count"] == 0:
        assert thread.is_alive()
    while thread.is_alive():
        client.interrupt()
        thread.join(0.5)
    assert [answer.images for answer in answers] == [[]], "its one picture was ended on its way"


def test_scripts(client: Any) -> None:
    scripts = client.get_scripts()
    assert {"x/y/z plot", "prompt matrix"} <= set(scripts["txt2img"])
    assert {"loopback", "sd upscale"} <= set(scripts["img2img"])
    plot = client.txt2img(prompt="a cat", script_name="X/Y/Z plot", script_args=_plot(("Seed", "1,2"), ("Steps", "1,2")), **SMALL)
    assert plot.images[0].width > 256 and plot.images[0].height > 256, "two cells each way and their legends"
    assert "X Type: Seed" in plot.info["infotexts"][0]


def _plot(x: tuple[str, str], y: tuple[str, str]) -> list[Any]:
    """A1111's positional arguments of the plot: three axes (number of the type, values, chosen values), then its options."""
    numbers = {"Nothing": 0, "Seed": 1, "Steps": 4}
    axes = [entry for kind, values in (x, y, ("Nothing", "")) for entry in (numbers[kind], values, [])]
    return [*axes, True, False, False, False, False, False, False, 0, False]
