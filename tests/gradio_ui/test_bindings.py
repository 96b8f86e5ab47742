"""The form becomes the request that the screen shows, and an infotext becomes the form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.catalog import Catalog, CheckpointInfo
from modules.domain.errors import InvalidRequest
from modules.gradio_ui.form import matching_guidance, matching_size, to_request
from modules.gradio_ui.pasting.infotext import from_infotext, override_entries, parse_overrides
from modules.gradio_ui.tabs.settings import to_options
from modules.settings.schema import Page, Settings

CATALOG = Catalog(
    checkpoints=(
        CheckpointInfo(
            name="starter.safetensors",
            path="/m/starter.safetensors",
            format="safetensors",
            sha256="ab" * 32,
            native_size=64,
            suited_guidance=4.5,
        ),
        CheckpointInfo(name="sub/sd15.safetensors", path="/m/sub/sd15.safetensors", format="safetensors", sha256="cd" * 32),
    ),
    samplers=sampler_infos(),
    schedules=schedule_infos(),
)

FORM = {
    "prompt": "a cat",
    "neg_prompt": "",
    "sampling": "Euler a",
    "scheduler": "Karras",
    "steps": 12,
    "width": 256,
    "height": 128,
    "batch_count": 2,
    "batch_size": 3,
    "cfg_scale": 5.5,
    "seed": 42,
    "subseed_show": False,
    "subseed": 7,
    "subseed_strength": 0.5,
    "seed_resize_from_w": 0,
    "seed_resize_from_h": 0,
    "override_settings": [],
}


def test_every_control_reaches_the_request() -> None:
    request = to_request(FORM, CATALOG, checkpoint="starter.safetensors", vae="None", clip_skip=2)
    assert (request.prompt, request.width, request.height, request.steps, request.cfg_scale) == ("a cat", 256, 128, 12, 5.5)
    assert (request.sampler, request.schedule) == ("euler_ancestral", "karras")
    assert (request.batch_count, request.batch_size, request.seed.value) == (2, 3, 42)
    assert (request.checkpoint, request.vae, request.clip_skip) == ("starter.safetensors", "None", 2)


def test_the_extra_seed_row_counts_only_while_it_is_shown() -> None:
    assert to_request(FORM, CATALOG).seed.variation_strength == 0.0
    shown = to_request({**FORM, "subseed_show": True, "seed_resize_from_w": 64, "seed_resize_from_h": 64}, CATALOG).seed
    assert (shown.variation, shown.variation_strength, shown.resize_from) == (7, 0.5, (64, 64))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("width", 130, "multiple of 8"),
        ("width", None, "Width is empty"),
        ("steps", "many", "Sampling steps must be a number"),
        ("steps", 2.5, "whole number"),
        ("seed", 2**70, "Seed must be"),
        ("sampling", "../../etc", "no sampler"),
        ("cfg_scale", float("nan"), "CFG scale"),
    ],
)
def test_a_wrong_value_names_its_control(name: str, value: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        to_request({**FORM, name: value}, CATALOG)


def test_a_refiner_without_a_checkpoint_is_refused_rather_than_left_out() -> None:
    chosen = {**FORM, "enable_refiner": True, "refiner_checkpoint": "None", "refiner_switch_at": 0.8}
    with pytest.raises(InvalidRequest, match="choose a checkpoint"):
        to_request(chosen, CATALOG)
    assert to_request({**chosen, "enable_refiner": False}, CATALOG).refiner is None


def test_an_infotext_fills_the_form() -> None:
    text = (
        "a cat, (fluffy:1.2)\nNegative prompt: dog\nSteps: 9, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x768, "
        "Model hash: abababab12, Model: starter, Clip skip: 2, ENSD: 31337, Variation seed: 3, Variation seed strength: 0.25"
    )
    pasted = from_infotext(text, CATALOG, Settings())
    assert pasted.values["prompt"] == "a cat, (fluffy:1.2)"
    assert pasted.values["neg_prompt"] == "dog"
    assert (pasted.values["sampling"], pasted.values["scheduler"]) == ("DPM++ 2M", "Automatic")
    assert (pasted.values["steps"], pasted.values["cfg_scale"], pasted.values["seed"]) == (9, 6.5, 965400086)
    assert (pasted.values["width"], pasted.values["height"]) == (512, 768)
    assert (pasted.values["subseed_show"], pasted.values["subseed"], pasted.values["subseed_strength"]) == (True, 3, 0.25)
    assert pasted.options["CLIP_stop_at_last_layers"] == 2
    assert pasted.options["eta_noise_seed_delta"] == 31337


def test_plain_text_is_taken_as_a_prompt() -> None:
    pasted = from_infotext("just words, nothing else", CATALOG, Settings())
    assert pasted.values == {"prompt": "just words, nothing else", "neg_prompt": ""}
    assert pasted.notes


def test_the_picture_s_model_is_taken_over_only_if_the_settings_say_so() -> None:
    text = "x\nSteps: 9, Sampler: Euler, CFG scale: 6.5, Seed: 1, Size: 64x64, Model hash: cdcdcdcdcd, Model: sd15"
    kept = from_infotext(text, CATALOG, Settings())
    assert "sd_model_checkpoint" not in kept.options
    assert any("sd15" in note for note in kept.notes)
    taken = from_infotext(text, CATALOG, Settings(page=Page(keep_checkpoint_on_paste=False)))
    assert taken.options["sd_model_checkpoint"].startswith("sub/sd15.safetensors")
    missing = from_infotext(text.replace("cdcdcdcdcd", "0000000000").replace("sd15", "gone"), CATALOG, Settings())
    assert any("gone" in note and "not here" in note for note in missing.notes)


def test_pasted_options_become_overrides_and_back() -> None:
    current = {"CLIP_stop_at_last_layers": 1, "eta_noise_seed_delta": 0}
    entries = override_entries({"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 0}, current)
    assert entries == ["Clip skip: 2"]
    assert parse_overrides(entries) == (("CLIP_stop_at_last_layers", "2"),)
    with pytest.raises(InvalidRequest, match="Nonsense"):
        parse_overrides(["Nonsense: 1"])


def test_a_new_checkpoint_brings_its_size_and_guidance_unless_the_user_chose_others() -> None:
    assert matching_size(512, 512, CATALOG, "starter.safetensors") == (64, 64)
    assert matching_size(64, 64, CATALOG, "sub/sd15.safetensors") == (512, 512)
    assert matching_size(512, 768, CATALOG, "starter.safetensors") == (512, 768)
    assert matching_guidance(7, CATALOG, "starter.safetensors") == 4.5
    assert matching_guidance(4.5, CATALOG, "sub/sd15.safetensors") == 7
    assert matching_guidance(6, CATALOG, "starter.safetensors") == 6
    assert matching_guidance(7, CATALOG, "gone.safetensors") == 7


def test_a_list_that_can_show_nothing_for_a_file_that_is_gone_changes_no_setting() -> None:
    gone = replace(Settings(), models=replace(Settings().models, vae="gone.safetensors", checkpoint="gone.ckpt"))
    shown = {"sd_vae": None, "sd_model_checkpoint": None, "jpeg_quality": 91}
    assert to_options(shown, gone, CATALOG) == {"jpeg_quality": 91}
    assert to_options({"sd_vae": "None"}, gone, CATALOG) == {"sd_vae": "None"}
    assert to_options({"sd_vae": None}, Settings(), CATALOG) == {"sd_vae": None}  # refused with a sentence, not lost
