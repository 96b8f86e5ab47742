"""The X/Y/Z plot's lists and axes, and the order in which its cells are drawn."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.catalog import Catalog, CheckpointInfo, VaeInfo
from modules.domain.errors import InvalidRequest, UserError
from modules.domain.requests import GenerationRequest, HiresPass, Refiner, Seed
from modules.domain.styles import Style
from modules.scripts.script import Environment
from modules.scripts.values import by_position, checked_values
from modules.scripts.xyz.axes import AXES, axes_of, find_axis
from modules.scripts.xyz.plot import SCRIPT, cells_of, chosen_axes, run_order
from modules.scripts.xyz.ranges import join_values, numbers, split_values, whole_numbers

CATALOG = Catalog(
    checkpoints=tuple(CheckpointInfo(name=f"{name}.safetensors", path=name, format="safetensors") for name in ("one", "sub/two")),
    vaes=(VaeInfo(name="nice.safetensors", path="v"),),
    samplers=sampler_infos(),
    schedules=schedule_infos(),
)
BASE = GenerationRequest(prompt="a cat and a dog", negative_prompt="blur", seed=Seed(value=7, variation=8), checkpoint="one.safetensors")


def no_picture(_: Any) -> Any:
    raise AssertionError("nothing is opened here")


ENVIRONMENT = Environment(
    catalog=CATALOG,
    entropy=11,
    open=no_picture,
    open_input=no_picture,
    keep=no_picture,
    wildcards=no_picture,
    styles=(Style(name="Ink", prompt="ink drawing of {prompt}"),),
)


def cells(base: GenerationRequest = BASE, **given: Any) -> list[GenerationRequest]:
    values = checked_values(SCRIPT, {"x_type": "Nothing", **given})
    axes = chosen_axes(values, "txt2img", ENVIRONMENT, fix=not values["no_fixed_seeds"])
    return cells_of(base, axes, values, ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-5", [1, 2, 3, 4, 5]),
        ("1-10 (+2)", [1, 3, 5, 7, 9]),
        ("10-5 (-3)", [10, 7]),
        ("10-5", [10, 9, 8, 7, 6, 5]),
        ("1-10 [5]", [1, 3, 5, 7, 10]),
        ("3, 1-2 , 9", [3, 1, 2, 9]),
        ("-3--1", [-3, -2, -1]),
        ("-1", [-1]),
        ("9223372036854775807", [9223372036854775807]),
    ],
)
def test_whole_ranges(text: str, expected: list[int]) -> None:
    assert whole_numbers(split_values(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-1 (+0.25)", [0, 0.25, 0.5, 0.75, 1]),
        ("0-0.3 (+0.1)", [0, 0.1, 0.2, 0.3]),
        ("0-1 [3]", [0, 0.5, 1]),
        ("1-0 (-0.5)", [1, 0.5, 0]),
        ("7.5, 4", [7.5, 4]),
    ],
)
def test_ranges_with_fractions(text: str, expected: list[float]) -> None:
    assert numbers(split_values(text)) == expected


@pytest.mark.parametrize("text", ["five", "1-5 (-1)", "5-1 (+1)", "1-5 (+0)", "1-99999999", "1-2 [0]", "1-2 [5000]", "1e999", "nan"])
def test_ranges_that_lead_nowhere_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        numbers(split_values(text))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1), min_size=1))
def test_what_is_joined_is_split_again(values: list[str]) -> None:
    assert split_values(join_values(values)) == values


@given(st.text(max_size=60))
def test_no_text_makes_the_lists_fail_otherwise(text: str) -> None:
    for axis in AXES:
        with contextlib.suppress(UserError):
            axis.values(split_values(text))


def test_quotation_marks_keep_commas() -> None:
    assert split_values('a cat, "a hat, a coat",  "say ""no""" ') == ["a cat", "a hat, a coat", 'say "no"']


def test_a1111s_positions() -> None:
    """Clients name an axis by its position in A1111 1.10's list of the tab."""
    txt2img, img2img = ([axis.name for axis in axes_of(tab)] for tab in ("txt2img", "img2img"))
    assert [txt2img.index(name) for name in ("Nothing", "Seed", "Steps", "CFG Scale", "Prompt S/R", "Checkpoint name")] == [
        0,
        1,
        4,
        6,
        7,
        11 - 0,
    ]
    assert img2img.index("Image CFG Scale") == 6 and "Hires steps" not in img2img
    assert find_axis("4", "txt2img").name == "Steps"
    assert by_position(SCRIPT, [4, "1-2", []])["x_type"] == "4"
    with pytest.raises(InvalidRequest, match="token merging"):
        find_axis("Token merging ratio", "txt2img")


def test_each_axis_changes_what_it_says() -> None:
    hires = replace(BASE, hires=HiresPass(), refiner=Refiner(checkpoint="two"))
    option: dict[str, Any] = {}

    def one(axis: str, text: str, base: GenerationRequest = hires) -> GenerationRequest:
        (cell,) = cells(base, x_type=axis, x_values=text)
        option.clear()
        option.update(dict(cell.overrides))
        return cell

    assert one("Seed", "5").seed.value == 5
    assert one("Var. seed", "5").seed.variation == 5
    assert one("Var. strength", "0.5").seed.variation_strength == 0.5
    assert one("Steps", "9").steps == 9
    assert one("CFG Scale", "4.5").cfg_scale == 4.5
    assert one("Sampler", "Euler a").sampler == "euler_ancestral"
    assert (one("Sampler", "DPM++ 2M SDE Karras").sampler, one("Schedule type", "Beta").schedule) == ("dpmpp_2m_sde", "beta")
    assert one("Checkpoint name", "two").checkpoint == "sub/two.safetensors"
    assert one("VAE", "nice").vae == "nice.safetensors" and one("VAE", "automatic").vae == "Automatic"
    assert one("Clip skip", "2").clip_skip == 2
    assert one("Size", "64x128").height == 128
    assert one("Styles", "Ink").prompt == "ink drawing of a cat and a dog"
    apart = one("Styles", "Ink", replace(hires, hires=HiresPass(prompt="a sharp cat"))).hires
    assert apart is not None
    assert (apart.prompt, apart.negative_prompt) == ("ink drawing of a sharp cat", "")
    second = (one("Hires steps", "3").hires, one("Hires sampler", "Euler").hires, one("Hires upscaler", "lanczos").hires)
    assert [second[0] and second[0].steps, second[1] and second[1].sampler, second[2] and second[2].upscaler] == [3, "euler", "Lanczos"]
    changed = one("Denoising", "0.3").hires
    assert changed is not None and changed.denoising_strength == 0.3
    for axis, key, text in (
        ("Negative Guidance minimum sigma", "s_min_uncond", "1.5"),
        ("Sigma Churn", "s_churn", "2"),
        ("Sigma min", "s_tmin", "1"),
        ("Sigma max", "s_tmax", "2"),
        ("Sigma noise", "s_noise", "1.05"),
        ("Schedule min sigma", "sigma_min", "0.1"),
        ("Schedule max sigma", "sigma_max", "10"),
        ("Schedule rho", "rho", "5"),
        ("Beta schedule alpha", "beta_dist_alpha", "0.5"),
        ("Beta schedule beta", "beta_dist_beta", "0.5"),
        ("Eta", "eta_ancestral", "0.5"),
        ("Initial noise multiplier", "initial_noise_multiplier", "1.1"),
        ("Extra noise", "img2img_extra_noise", "0.1"),
        ("UniPC Order", "uni_pc_order", "2"),
        ("Skip Early CFG", "skip_early_cond", "0.2"),
    ):
        one(axis, text)
        assert option == {key: float(text)}, axis
    one("Always discard next-to-last sigma", "True")
    assert option == {"always_discard_next_to_last_sigma": True}
    one("RNG source", "CPU")
    assert option == {"randn_source": "CPU"}
    one("Eta", "0.5", replace(BASE, sampler="ddim"))
    assert option == {"eta_ddim": 0.5}


def test_prompt_search_and_replace_and_order() -> None:
    assert [cell.prompt for cell in cells(x_type="Prompt S/R", x_values="cat, mouse, bird")] == [
        "a cat and a dog",
        "a mouse and a dog",
        "a bird and a dog",
    ]
    assert [cell.negative_prompt for cell in cells(x_type="Prompt S/R", x_values="blur, noise")] == ["blur", "noise"]
    assert [cell.prompt for cell in cells(x_type="Prompt order", x_values="cat, dog")] == ["a cat and a dog", "a dog and a cat"]
    with pytest.raises(InvalidRequest, match="X: Prompt S/R: 'horse' is in neither"):
        cells(x_type="Prompt S/R", x_values="horse, mouse")


def test_an_empty_value_takes_the_words_out() -> None:
    for text in ('cat,""', "cat,", 'cat, ""'):
        assert [cell.prompt for cell in cells(x_type="Prompt S/R", x_values=text)] == ["a cat and a dog", "a  and a dog"]
    assert [cell.prompt for cell in cells(x_type="Prompt S/R", x_values="cat,,mouse")][1:] == ["a  and a dog", "a mouse and a dog"]
    assert [cell.steps for cell in cells(x_type="Steps", x_values='1,,"",2')] == [1, 2]
    for text in ('""', ",cat"):
        with pytest.raises(InvalidRequest, match="can't be empty"):
            cells(x_type="Prompt S/R", x_values=text)
    with pytest.raises(InvalidRequest, match="has no values"):
        cells(x_type="Prompt S/R", x_values=" ")


def test_varied_seeds_count_up_from_the_axis_own() -> None:
    given = {"x_type": "Seed", "x_values": "1,2", "y_type": "Steps", "y_values": "3,4", "vary_seeds_y": True}
    assert [cell.seed.value for cell in cells(**given)] == [1, 2, 2, 3]
    assert [cell.seed.value for cell in cells(**{**given, "vary_seeds_x": True})] == [1, 3, 3, 5]
    assert [cell.seed.value for cell in cells(**{**given, "x_values": "-1", "no_fixed_seeds": True})] == [-1, -1]


def test_an_old_sampler_name_wins_over_the_forms_schedule() -> None:
    form = replace(BASE, schedule="exponential", hires=HiresPass(schedule="exponential"))
    given = {"x_type": "Sampler", "x_values": "DPM++ 2M Karras,Euler", "y_type": "Hires sampler", "y_values": "DPM2 Karras"}
    made = cells(form, **given)
    assert [(cell.sampler, cell.schedule) for cell in made] == [("dpmpp_2m", "karras"), ("euler", "exponential")]
    assert all(cell.hires and (cell.hires.sampler, cell.hires.schedule) == ("dpm_2", "karras") for cell in made)


def test_what_cannot_be_drawn_is_named_with_its_axis() -> None:
    for wanted, sentence in (
        ({"y_type": "Steps", "y_values": "many"}, "Y: 'many' is not a whole number"),
        ({"z_type": "Sampler", "z_values": "nonsense"}, "Z: Sampler: There is no sampler"),
        ({"x_type": "Steps", "x_values": "0"}, "X: Steps: Sampling steps must be from 1"),
        ({"x_type": "Hires steps", "x_values": "3"}, "X: Hires steps: it is about hires. fix"),
        ({"x_type": "Refiner switch at", "x_values": "0.5"}, "no refiner"),
        ({"x_type": "Steps", "x_values": " "}, "X: Steps has no values"),
        ({"x_type": "Steps", "x_values": "9" * 400}, "is not a whole number"),
        ({"x_type": "Size", "x_values": "²x²"}, "is no size"),
        ({"x_type": "Size", "x_values": f"{'9' * 5000}x512"}, "is no size"),
        ({"x_type": "²", "x_values": "1"}, "X: there is no axis"),
        ({"x_type": "9" * 5000, "x_values": "1"}, "X: there is no axis"),
        ({"x_type": "Moon phase", "x_values": "1"}, "X: there is no axis 'Moon phase'"),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            cells(**wanted)


def test_cells_count_x_first_and_the_dearest_axis_changes_least() -> None:
    given = {
        "x_type": "Checkpoint name",
        "x_values": "one,two",
        "y_type": "Steps",
        "y_values": "1-3",
        "z_type": "CFG Scale",
        "z_values": "1,2",
    }
    found = cells(**given)
    assert [(cell.checkpoint, cell.steps, cell.cfg_scale) for cell in found[:3]] == [
        ("one.safetensors", 1, 1),
        ("sub/two.safetensors", 1, 1),
        ("one.safetensors", 2, 1),
    ]
    axes = chosen_axes(checked_values(SCRIPT, given), "txt2img", ENVIRONMENT, fix=True)
    drawn = [found[place] for place in run_order(axes)]
    assert [cell.checkpoint for cell in drawn] == ["one.safetensors"] * 6 + ["sub/two.safetensors"] * 6
    assert sorted(run_order(axes)) == list(range(12))


def test_seeds_are_drawn_by_their_place_and_vary_along_the_axes_that_say_so() -> None:
    short, longer = ([cell.seed.value for cell in cells(x_type="Seed", x_values=text)] for text in ("-1,-1", "-1,-1,-1"))
    assert longer[:2] == short and len(set(longer)) == 3
    assert [cell.seed.value for cell in cells(x_type="Seed", x_values="-1", no_fixed_seeds=True)] == [-1]
    given = {"x_type": "Steps", "x_values": "1,2", "y_type": "CFG Scale", "y_values": "1,2,3", "vary_seeds_x": True, "vary_seeds_y": True}
    assert [cell.seed.value for cell in cells(**given)] == [7, 8, 9, 10, 11, 12]
    assert [cell.seed.value for cell in cells(**{**given, "vary_seeds_x": False})] == [7, 7, 8, 8, 9, 9]


def test_lists_from_the_dropdown_unless_text_is_wanted(tmp_path: Path) -> None:
    given = {"x_type": "Sampler", "x_values": "Heun", "x_values_dropdown": ["Euler", "Euler a"]}
    assert [cell.sampler for cell in cells(**given)] == ["euler", "euler_ancestral"]
    assert [cell.sampler for cell in cells(**given, csv_mode=True)] == ["heun"]
