"""From the Extras tab's values to requests: what each control means, and whose folders may be named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest
from modules.domain.extras import ExtrasRequest
from modules.gradio_ui.bindings.extras import Source, extras_requests, to_request
from modules.imaging.files import encode_image
from tests.http_api.front import Front, front

ID = "0123456789abcdef" * 2
FORM: dict[str, Any] = {
    "batch_input_dir": "",
    "batch_output_dir": "",
    "resize_kind": "Scale by",
    "upscaling_resize": 2,
    "upscaling_resize_w": 100,
    "upscaling_resize_h": 50,
    "upscaling_crop": False,
    "upscaler_1": "Lanczos",
    "upscaler_2": "None",
    "upscaler_2_visibility": 0,
    "gfpgan_visibility": 0,
    "codeformer_visibility": 0,
    "codeformer_weight": 0,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("extras")) as found:
        yield found


def asked(made: Front, inputs: Any, uploads: list[str] | None = None, *, local: bool = True, **values: Any) -> list[ExtrasRequest]:
    text = inputs if isinstance(inputs, str) else json.dumps(inputs)
    return list(extras_requests(made.context, {**FORM, **values, "inputs": text}, uploads or [], local=local).values)


def test_the_controls_are_the_requests_fields(made: Front) -> None:
    picture = {"image": ID, "name": "a.png", "infotext": "a cat", "width": 8, "height": 8}
    assert asked(made, {"mode": "single", "picture": picture}) == [
        ExtrasRequest(image=ID, name="a.png", infotext="a cat", resize_by=2.0, upscaler_1="Lanczos")
    ]
    scaled = to_request({**FORM, "resize_kind": "Scale to", "upscaling_crop": True}, Source(image=ID))
    assert (scaled.size, scaled.crop) == ((100, 50), True)


@pytest.mark.parametrize(
    ("inputs", "values", "words"),
    [
        ({"mode": "single", "picture": None}, {}, "Choose a picture first"),
        ({"mode": "batch"}, {}, "Upload pictures first"),
        ({"mode": "folder"}, {}, "Name a folder"),
        ({"mode": "folder"}, {"batch_input_dir": "/nowhere"}, "no folder /nowhere"),
        ({"error": "The server does not answer."}, {}, "does not answer"),
        ("", {}, "Reload the page"),
        ("[1]", {}, "Reload the page"),
        ({"mode": "single", "picture": {"image": "../../etc/passwd"}}, {}, "not the id"),
        ({"mode": "single", "picture": {"image": ID, "name": "../x"}}, {}, "without folders"),
        ({"mode": "single", "picture": {"image": ID}}, {"upscaling_resize": ""}, "Resize is empty"),
    ],
)
def test_what_can_t_be_is_told(made: Front, inputs: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        asked(made, inputs, **values)


def test_folders_are_for_whoever_sits_at_the_machine(made: Front, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(Image.new("RGB", (8, 8)), "png", "a cat"))
    (tmp_path / "notes.txt").write_text("no picture")
    values = {"batch_input_dir": str(tmp_path), "batch_output_dir": str(tmp_path)}
    (request,) = asked(made, {"mode": "folder"}, **values)
    assert (request.name, request.infotext, request.copy_to) == ("a.png", "a cat", str(tmp_path))
    with pytest.raises(InvalidRequest, match="sits at the machine"):
        asked(made, {"mode": "folder"}, local=False, **values)
    (upload,) = asked(made, {"mode": "batch"}, [str(tmp_path / "a.png")], local=False, **values)
    assert upload.copy_to == "", "what stands in the hidden fields is not written to"


def test_no_route_of_the_api_names_a_folder(made: Front) -> None:
    properties = made.client.get("/openapi.json").json()["components"]["schemas"]["ExtrasSingleBody"]["properties"]
    assert not any("copy" in name or "dir" in name for name in properties)
