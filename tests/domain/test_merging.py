"""A merge's request, its automatic names, and the notation of block weights."""

from __future__ import annotations

import json

import pytest

from modules.domain.block_weights import BASE, block_multipliers, block_names
from modules.domain.errors import InvalidRequest
from modules.domain.jobs import request_from_json
from modules.domain.merging import MergeRequest, automatic_name, with_free_name, without_unused

ASKED = {"primary": "sub/a.safetensors", "secondary": "b.ckpt", "tertiary": "c.safetensors"}


def test_a_request_survives_json():
    request = MergeRequest(**ASKED, method="Add difference", loras=(("x.safetensors", 0.5),), half=True, block_weights="GRAD_V")
    assert request_from_json(json.loads(json.dumps(request.to_json()))) == request
    with pytest.raises(InvalidRequest, match="request fields flavour"):
        request_from_json({**request.to_json(), "flavour": 1})


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"primary": ""}, "Choose a primary model"),
        ({"secondary": ""}, "Weighted sum needs a secondary model"),
        ({"tertiary": "", "method": "Add difference"}, "Add difference needs a tertiary model"),
        ({"method": "Sum"}, "no interpolation method 'Sum'"),
        ({"multiplier": 1.2}, "Multiplier .M. must be from 0 to 1"),
        ({"name": "../x"}, "can't hold '/'"),
        ({"name": "a\\b"}, "can't hold"),
        ({"name": ".hidden"}, "must not begin"),
        ({"name": "nul"}, "can't be a file's name"),
        ({"name": "é" * 100}, "too long"),
        ({"name": "x.vae"}, "taken for a VAE"),
        ({"file_format": "ckpt"}, "a pickle"),
        ({"discard": "("}, "no regular expression"),
        ({"config_from": "A"}, "Copy config from"),
        ({"loras": (("x", 11.0),)}, "weight of LoRA x"),
        ({"block_weights": "1, 2"}, "A block's weight must be from 0 to 1"),
        ({"block_weights": "GRAD_X"}, "GRAD_V"),
        ({"block_weights": "IN: 0.5"}, "no block 'IN'"),
    ],
)
def test_what_can_not_be_is_said(more: dict[str, object], sentence: str):
    with pytest.raises(InvalidRequest, match=sentence):
        MergeRequest(**{**ASKED, **more})


def test_models_without_use_are_left_out():
    assert without_unused(MergeRequest(**ASKED)).tertiary == ""
    alone = without_unused(MergeRequest(**ASKED, method="No interpolation"))
    assert (alone.secondary, alone.tertiary) == ("", "")


def test_automatic_names_are_a1111s_and_fit_file_systems():
    assert automatic_name(MergeRequest(**ASKED)) == "0.7(a) + 0.3(b)"
    assert automatic_name(MergeRequest(**ASKED, method="Add difference", multiplier=1.0)) == "a + 1(b - c)"
    assert (
        automatic_name(MergeRequest(primary="a.safetensors", method="No interpolation", loras=(("l/x.safetensors", 0.5),))) == "a + 0.5(x)"
    )
    assert automatic_name(MergeRequest(primary="a:b?.ckpt", method="No interpolation")) == "a_b_"
    assert len(automatic_name(MergeRequest(primary="ä" * 200, method="No interpolation")).encode()) < 180


def test_automatic_names_get_numbers_and_chosen_ones_are_refused():
    taken = ["A.safetensors", "a-1.safetensors"]
    assert with_free_name(MergeRequest(primary="a.safetensors", method="No interpolation"), taken).file_name == "a-2.safetensors"
    with pytest.raises(InvalidRequest, match=r"called A\.safetensors already"):
        with_free_name(MergeRequest(primary="a.safetensors", method="No interpolation", name="A"), taken)


def test_block_weights_in_all_notations():
    names = block_names(12, 12)
    assert len(names) == 25 and names[12] == "M00" and len(block_names(9, 9)) == 19
    numbers = [round(n / 100, 2) for n in range(26)]
    text = ", ".join(map(str, numbers))
    assert list(block_multipliers(text, 0.5, 12, 12).values()) == numbers
    without_base = block_multipliers(text.split(", ", 1)[1], 0.5, 12, 12)
    assert without_base[BASE] == 0.5 and without_base["IN00"] == 0.01 and without_base["OUT11"] == 0.25
    named = block_multipliers("in0 = 0.2\nM: 1\nBASE: 0, OUT08: .4", 0.5, 9, 9)
    assert (named["IN00"], named["M00"], named[BASE], named["OUT08"], named["IN05"]) == (0.2, 1.0, 0.0, 0.4, 0.5)
    assert set(block_multipliers("", 0.3, 12, 12).values()) == {0.3}
    shape = block_multipliers("grad_v", 0.3, 12, 12)
    assert (shape["IN00"], shape["M00"], shape["OUT11"], shape[BASE]) == (1.0, 0.0, 1.0, 0.3)
    with pytest.raises(InvalidRequest, match="no block IN09"):
        block_multipliers("IN09: 0.2", 0.5, 9, 9)
    with pytest.raises(InvalidRequest, match="write 20 numbers"):
        block_multipliers(text, 0.5, 9, 9)
