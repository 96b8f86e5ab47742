"""Requests to enlarge a finished picture: A1111's defaults, what is refused, and that the queue gives them back beside older jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modules.domain.errors import InvalidRequest
from modules.domain.extras import ExtrasRequest, enlarged_size
from modules.domain.jobs import request_from_json
from modules.domain.requests import GenerationRequest

ID = "0123456789abcdef" * 2


def test_a1111s_defaults() -> None:
    request = ExtrasRequest(image=ID)
    assert (request.resize_by, request.size, request.crop) == (4.0, None, True)
    assert (request.upscaler_1, request.upscaler_2, request.upscaler_2_visibility) == ("None", "None", 0.0)
    assert (request.inputs, request.image_count, request.tab) == ((ID,), 1, "extras")


@pytest.mark.parametrize(
    "request_",
    [
        ExtrasRequest(image=ID),
        ExtrasRequest(image=ID, size=(640, 512), crop=False, upscaler_1="Lanczos", upscaler_2="Nearest", upscaler_2_visibility=0.5),
        ExtrasRequest(image=ID, name="katze ü.png", infotext="a cat\nSteps: 4", overrides=(("samples_save", False),)),
        GenerationRequest(prompt="a cat"),
    ],
)
def test_the_queues_json_gives_the_request_back(request_: ExtrasRequest | GenerationRequest) -> None:
    assert request_from_json(json.loads(json.dumps(request_.to_json()))) == request_


def test_a_job_of_an_earlier_version_is_a_generation() -> None:
    assert request_from_json({"prompt": "a cat"}) == GenerationRequest(prompt="a cat")


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="does not know"):
        request_from_json({"kind": "video"})
    with pytest.raises(InvalidRequest, match="speed"):
        request_from_json({"kind": "extras", "image": ID, "speed": 2})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image": ""}, "Choose a picture"),
        ({"image": "../x"}, "not the id"),
        ({"resize_by": 0.0}, "Resize"),
        ({"resize_by": float("nan")}, "Resize"),
        ({"size": (0, 64)}, "Width"),
        ({"size": (64, 10**6)}, "Height"),
        ({"upscaler_2_visibility": 1.5}, "visibility"),
        ({"name": "../../etc/passwd"}, "without folders"),
    ],
)
def test_what_no_upscaler_could_do_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        ExtrasRequest(**{"image": ID, **fields})


def test_sizes_keep_the_pictures_proportions() -> None:
    assert enlarged_size(ExtrasRequest(image=ID, resize_by=2.0), (70, 51)) == (140, 102)
    assert enlarged_size(ExtrasRequest(image=ID, size=(512, 512)), (100, 50)) == (1024, 512)
    assert enlarged_size(ExtrasRequest(image=ID, size=(512, 512), crop=False), (50, 100)) == (512, 1024)
    with pytest.raises(InvalidRequest, match="smaller"):
        enlarged_size(ExtrasRequest(image=ID, resize_by=16.0), (4096, 64))
