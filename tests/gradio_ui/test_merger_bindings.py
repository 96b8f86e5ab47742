"""From the Checkpoint Merger's controls to a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.merging import MergeRequest
from modules.gradio_ui.bindings.merger import FORMULAS, merge_request, to_request
from tests.tiny_models import catalog_of, checkpoint_info

FORM: dict[str, Any] = {
    "primary_model_name": "a",
    "secondary_model_name": "b.safetensors",
    "tertiary_model_name": None,
    "interp_method": "Weighted sum",
    "interp_amount": 0.3,
    "block_weights": "",
    "custom_name": "",
    "checkpoint_format": "safetensors",
    "save_as_half": False,
    "config_method": "A, B or C",
    "bake_in_vae": "None",
    "loras": "",
    "discard_weights": "",
    "copy_metadata_fields": True,
    "add_merge_recipe": True,
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path in made:
        path.write_bytes(b"x")
    return made


def test_the_form_becomes_a_request(files: list[Path]) -> None:
    catalog = catalog_of(*map(checkpoint_info, files))
    assert to_request(FORM, catalog) == MergeRequest(primary="a.safetensors", secondary="b.safetensors")
    full = {
        **FORM,
        "tertiary_model_name": "c",
        "interp_method": "Add difference",
        "custom_name": " Mine.safetensors ",
        "save_as_half": True,
    }
    full |= {"loras": "<lora:x:0.5>, <lora:y>", "block_weights": "GRAD_V", "config_method": "Don't"}
    assert to_request(full, catalog) == MergeRequest(
        primary="a.safetensors", secondary="b.safetensors", tertiary="c.safetensors", method="Add difference", name="Mine", half=True,
        loras=(("x", 0.5), ("y", 1.0)), block_weights="GRAD_V", config_from="Don't",
    )  # fmt: skip
    assert set(FORMULAS) == {"No interpolation", "Weighted sum", "Add difference"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"primary_model_name": None}, "Choose a primary model"),
        ({"interp_amount": None}, r"Multiplier \(M\) is empty"),
        ({"checkpoint_format": "ckpt"}, "a pickle"),
        ({"loras": "x:0.5"}, "can't be read"),
        ({"loras": "<lora:x:1:1>"}, "Write it as"),
        ({"loras": "<lora:x:much>"}, "Write it as"),
        ({"interp_method": "Add difference"}, "tertiary model"),
    ],
)
def test_what_can_not_be_is_said(files: list[Path], more: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        to_request({**FORM, **more}, catalog_of(*map(checkpoint_info, files)))


def test_a_name_that_is_gone_is_said(files: list[Path]) -> None:
    with pytest.raises(ModelNotFound, match="nobody"):
        to_request({**FORM, "secondary_model_name": "nobody"}, catalog_of(*map(checkpoint_info, files)))


def test_a_stranger_may_not_fill_the_disk() -> None:
    with pytest.raises(InvalidRequest, match="sits at it or has logged in"):
        merge_request(cast("Any", None), FORM, allowed=False)
