"""Lists of prompts, matrices of parts, curves of strengths: what a script asks for, without anything being drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.catalog import Catalog, CheckpointInfo, FaceRestorerInfo
from modules.domain.errors import InvalidRequest
from modules.domain.requests import GenerationRequest, Seed
from modules.domain.styles import Style
from modules.scripts.loopback import strength_at
from modules.scripts.prompt_lines import applied, read_lines
from modules.scripts.prompt_matrix import combinations
from modules.scripts.registry import SCRIPTS
from modules.scripts.values import by_position, checked_values

CATALOG = Catalog(
    checkpoints=(CheckpointInfo(name="one.safetensors", path="one", format="safetensors"),),
    samplers=sampler_infos(),
    schedules=schedule_infos(),
)
BASE = GenerationRequest(prompt="best", negative_prompt="worst", seed=Seed(value=3), overrides=(("tiling", False),))
STYLES = (Style(name="Ink", prompt="ink", negative_prompt="photo"),)


def line(text: str, *, at_start: bool = True, base: GenerationRequest = BASE) -> GenerationRequest:
    (found,) = read_lines(text)
    return applied(found, base, CATALOG, STYLES, at_start=at_start)


def test_matrix_of_a1111s_example() -> None:
    prompt = "a busy city street in a modern city|illustration|cinematic lighting"
    assert combinations(prompt, at_start=False, delimiter=", ") == [
        "a busy city street in a modern city",
        "a busy city street in a modern city, illustration",
        "a busy city street in a modern city, cinematic lighting",
        "a busy city street in a modern city, illustration, cinematic lighting",
    ]
    assert combinations("a, |b, |c", at_start=True, delimiter=" ")[3] == "b c a,"
    assert combinations("alone", at_start=False, delimiter=", ") == ["alone"]


def test_a_plain_line_is_a_prompt_before_or_after_the_forms() -> None:
    assert line("a cat").prompt == "a cat best"
    assert line("a cat", at_start=False).prompt == "best a cat"
    assert line("a cat", base=replace(BASE, prompt="")).prompt == "a cat"
    assert line("a cat -- sitting").prompt == "a cat -- sitting best", "only a line that begins with -- has arguments"


def test_every_argument_of_a_line() -> None:
    text = (
        '--prompt a red apple --negative_prompt "grey sky" --steps 9 --cfg_scale 4.5 --width 640 --height 384 --batch_size 2 --n_iter 3'
        ' --seed 11 --subseed 12 --subseed_strength 0.25 --seed_resize_from_w 512 --seed_resize_from_h 256 --sampler_name "DPM++ 2M Karras"'
        " --sd_model one --styles Ink --tiling true --do_not_save_samples true --do_not_save_grid true"
    )
    made = line(text)
    assert made.prompt == "a red apple best, ink"
    assert made.negative_prompt == "grey sky worst, photo"
    assert (made.steps, made.cfg_scale, made.width, made.height, made.batch_size, made.batch_count) == (9, 4.5, 640, 384, 2, 3)
    assert made.seed == Seed(value=11, variation=12, variation_strength=0.25, resize_from=(512, 256))
    assert (made.sampler, made.checkpoint) == ("dpmpp_2m", "one.safetensors")
    assert dict(made.overrides) == {"tiling": True, "samples_save": False, "grid_save": False}
    assert line("--sampler_index 0").sampler == CATALOG.samplers[0].id


def test_an_old_sampler_name_wins_over_the_forms_schedule() -> None:
    form = replace(BASE, schedule="exponential")
    made = [line(f'--sampler_name "{name}"', base=form) for name in ("DPM++ 2M Karras", "DPM++ 2M")]
    assert [(each.sampler, each.schedule) for each in made] == [("dpmpp_2m", "karras"), ("dpmpp_2m", "exponential")]


def test_a_line_has_its_faces_restored_or_not() -> None:
    restorer = FaceRestorerInfo(kind="GFPGAN", path="GFPGANv1.4.pth")
    catalog = replace(CATALOG, face_restorers=(restorer,))
    for asked, wanted in (("true", "GFPGAN"), ("false", "None")):
        (found,) = read_lines(f"--prompt a face --restore_faces {asked}")
        made = applied(found, BASE, catalog, STYLES, at_start=True)
        assert dict(made.overrides) == {"tiling": False, "face_restoration_model": wanted}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fine\n\n--steps many", "Line 3: 'many' is no value for --steps"),
        ("--moon full", "Line 1: '--moon' is no argument"),
        ("--steps", "Line 1: --steps has no value"),
        ('--prompt "a cat', "Line 1: a quotation mark is missing"),
        ("--outpath_samples /etc", "Line 1: --outpath_samples can't be used"),
        ("--restore_faces true", "Line 1: There is no CodeFormer here. Put its weights"),
        ("--width 100", "Line 1: Width must be a multiple"),
        ("--styles Oil", "Line 1: there is no style called 'Oil'"),
        ("--sd_model other", "Line 1: There is no checkpoint"),
        ("--steps 20 30", "Line 1: '30' is no argument"),
        (f"--steps {'9' * 400}", "Line 1: Sampling steps must be from 1 to 1000, not a number of hundreds of digits"),
        (f"--cfg_scale {'9' * 400}", "Line 1: CFG scale must be"),
        (f"--steps {'9' * 5000}", "Line 1: '9999"),
    ],
)
def test_lines_that_are_not_understood(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence.replace("(", r"\(")):
        for each in read_lines(text):
            applied(each, BASE, CATALOG, STYLES, at_start=True)


@given(st.text(max_size=80))
def test_any_list_is_read_or_refused(text: str) -> None:
    try:
        lines = read_lines(text)
    except InvalidRequest:
        return
    assert all(each.values for each in lines)


def test_loopbacks_curves() -> None:
    for curve, middle in (("Linear", 0.6), ("Aggressive", 0.5172), ("Lazy", 0.6828)):
        found = [strength_at(pass_, 3, 0.8, 0.4, curve) for pass_ in range(3)]
        assert found == [0.8, middle, 0.4]
    assert strength_at(0, 1, 0.8, 0.4, "Linear") == 0.8


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_defaults_are_values_that_are_allowed(script: object) -> None:
    from modules.scripts.script import Script

    assert isinstance(script, Script)
    values = by_position(script, [])
    assert checked_values(script, values) == values
    assert len({control.name for control in script.controls}) == len(script.controls)


def test_values_out_of_range_are_named_by_their_label() -> None:
    matrix = next(script for script in SCRIPTS if script.name == "Prompt matrix")
    for arguments, sentence in (
        ([False, False, "positive", "comma", 9999], r"Grid margins \(px\) must be from 0 to 500"),
        ([False, False, "positive", "comma", 10**400], r"Grid margins \(px\) must be a number"),
        ([False, False, "positive", "comma", "wide"], r"Grid margins \(px\) must be a number"),
        (["perhaps"], "Put variable parts at start of prompt must be true or false"),
        ([False, False, "positive", "semicolon"], "Select joining char must be one of comma, space"),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            by_position(matrix, arguments)
