"""What a pasted text says, what became of each field, and whether the picture can come out the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.catalog import Catalog, CheckpointInfo, FaceRestorerInfo, VaeInfo
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.gradio_ui.parts.pasted_report import report_markup
from modules.gradio_ui.pasting.infotext import Pasted, from_infotext, override_entries, parse_overrides
from modules.settings.schema import Compatibility, Models, Page, Settings

CATALOG = Catalog(
    checkpoints=(
        CheckpointInfo(name="starter.safetensors", path="/m/starter.safetensors", format="safetensors", sha256="ab" * 32),
        CheckpointInfo(name="sub/sd15.safetensors", path="/m/sub/sd15.safetensors", format="safetensors", sha256="cd" * 32),
    ),
    vaes=(VaeInfo(name="soft.safetensors", path="/v/soft.safetensors", sha256="ef" * 32),),
    loras=(
        LoraInfo(name="styles/ink_v2.safetensors", path="/l/ink_v2.safetensors", digest="12" * 32),
        LoraInfo(name="gold.safetensors", path="/l/gold.safetensors", digest="34" * 32),
        LoraInfo(name="new.safetensors", path="/l/new.safetensors"),
    ),
    embeddings=(EmbeddingInfo(name="kind.pt", path="/e/kind.pt", word="kind", sha256="56" * 32),),
    samplers=sampler_infos(),
    schedules=schedule_infos(),
)

BASE = "Steps: 9, Sampler: Euler a, CFG scale: 6.5, Seed: 1, Size: 64x96, Model hash: ababababab, Model: starter"


def paste(more: str = "", prompt: str = "a cat", settings: Settings | None = None) -> Pasted:
    return from_infotext(f"{prompt}\n{BASE}{more}", CATALOG, settings or Settings())


def reason(pasted: Pasted, key: str) -> str:
    return {field.key: field.became for field in pasted.report.ignored}[key]


def test_a_text_of_which_everything_is_here_gives_the_same_picture() -> None:
    pasted = paste(", Clip skip: 2, ENSD: 0, Version: v1.10.1")
    assert pasted.report.verdict == "Will give the same picture."
    assert [(field.key, field.value) for field in pasted.report.applied] == [
        ("Steps", "9"),
        ("Sampler", "Euler a"),
        ("CFG scale", "6.5"),
        ("Seed", "1"),
        ("Size", "64x96"),
        ("ENSD", "0"),
    ]
    assert [(field.key, field.value) for field in pasted.report.overrides] == [("Clip skip", "2")]
    assert [(model.here, model.match) for model in pasted.report.models] == [("starter.safetensors", "same")]
    assert "does not depend" in reason(pasted, "Version")


@pytest.mark.parametrize(
    ("version", "sampler", "prompt", "implied"),
    [
        ("v1.5.2", "Euler a", "a [cat:dog:0.5]", {"use_old_scheduling", "use_downcasted_alpha_bar"}),
        ("v1.5.2", "Euler a", "a cat", {"use_downcasted_alpha_bar"}),
        ("1.7.0-224-gab12", "Euler a", "[cat]", {"use_downcasted_alpha_bar"}),
        ("1.7.0-225-gab12", "Euler a", "[cat]", set()),
        ("v1.6.0", "Euler a", "[cat]", {"use_downcasted_alpha_bar"}),
        ("f2.0.1v1.10.1-previous-664-gd557aef9", "Euler a", "[cat]", set()),
        ("diffusion-webui v0.1.0", "Euler a", "[cat]", set()),
        ("", "Euler a", "[cat]", set()),
    ],
)
def test_old_versions_bring_along_what_they_did_otherwise(version: str, sampler: str, prompt: str, implied: set[str]) -> None:
    more = f", Version: {version}" if version else ""
    pasted = paste(more, prompt)
    switches = {"use_old_scheduling", "use_downcasted_alpha_bar"}
    assert {key for key in switches if pasted.options.get(key)} == implied
    assert {field.became for field in pasted.report.overrides if "alphas" in field.key} <= {f"as version {version} did"}
    off = paste(more, prompt, Settings(compatibility=Compatibility(auto_backcompat=False)))
    assert not switches & set(off.options)


def test_what_an_old_version_did_and_this_program_cannot_is_said() -> None:
    text = f"a cat\n{BASE}, Version: v1.5.2".replace("Euler a", "DDIM")
    report = from_infotext(text, CATALOG, Settings()).report
    assert report.verdict.startswith("Will differ because Pad conds v0")


@pytest.mark.parametrize(("version", "told"), [("diffusion-webui v0.1.0", True), ("v1.10.1", True), ("v1.2.0", False), ("f2.0.1", False)])
def test_what_a_text_leaves_out_is_at_its_default_whatever_is_set_here(version: str, told: bool) -> None:
    settings = replace(Settings(), sampling=replace(Settings().sampling, noise_seed_delta=31337, sgm_noise=True))
    pasted = paste(f", SGM noise multiplier: True, Version: {version}", settings=settings)
    assert pasted.options.get("eta_noise_seed_delta") == (0 if told else None)
    assert pasted.options["sgm_noise_multiplier"] is True
    assert ("ENSD: 0" in override_entries(pasted.options, {"eta_noise_seed_delta": 31337})) is told
    assert "eta_noise_seed_delta" not in paste(f", Version: {version}").options


def test_a_network_that_is_called_otherwise_here_is_found_by_its_hash() -> None:
    pasted = paste(f', Lora hashes: "ink: {"12" * 6}, gold: {"34" * 6}"', "a cat <lora:ink:0.8> <lora:gold:1>")
    assert pasted.values["prompt"] == "a cat <lora:ink_v2:0.8> <lora:gold:1>"
    assert [(model.name, model.here, model.match) for model in pasted.report.models[1:]] == [
        ("ink", "ink_v2", "renamed"),
        ("gold", "gold", "same"),
    ]
    assert any("ink_v2" in note for note in pasted.notes)
    assert pasted.report.verdict == "Will give the same picture."


@pytest.mark.parametrize(
    ("more", "prompt", "verdict"),
    [
        (', Lora hashes: "gone: 999999999999"', "<lora:gone:1>", "Will differ because its LoRA gone is not here"),
        (', Lora hashes: "gold: 999999999999"', "<lora:gold:1>", "Will differ because its LoRA gold is another file"),
        (', Lora hashes: "new: 999999999999"', "<lora:new:1>", "May differ: its LoRA new could be compared by name only"),
        ("", "<lora:gold:1>", "May differ: its LoRA gold could be compared by name only"),
        ("", "<hypernet:x:1>", "Will differ because <hypernet:…>"),
        (f', TI hashes: "kind: {"56" * 6}"', "kind", "Will give the same picture"),
        (f', TI hashes: "old: {"56" * 6}"', "old", "Will differ because old is called kind here"),
        (', TI hashes: "old: 999999999999"', "old", "Will differ because its textual inversion old is not here"),
        (", VAE hash: efefefefef, VAE: other.pt", "x", "Will give the same picture"),
        (", VAE hash: 9999999999, VAE: other.pt", "x", "Will differ because its VAE other.pt is not here"),
        (", Refiner: xl [1234567890], Refiner switch at: 0.8", "x", "Will differ because Refiner could not be taken over"),
        (", Denoising strength: 0.5, Mask blur: 4", "x", "Will differ because the picture was made from another one"),
        (", ControlNet 0: Module none", "x", "Will differ because ControlNet 0: ControlNet is not part"),
        (", Frobnication: 3", "x", "May differ: Frobnication is a field that this program does not know"),
        (", Unfinished: 7 of 20 steps", "x", "May differ: it was interrupted on its way"),
        (", Clip skip: 99", "x", "Will differ because Clip skip could not be taken over"),
        (", CFG scale: nan", "x", "Will differ because CFG scale could not be taken over"),
        (", Mask mode: Inpaint masked, VAE Decoder: Full", "x", "Will give the same picture"),
    ],
)
def test_the_verdict_names_its_reasons(more: str, prompt: str, verdict: str) -> None:
    assert paste(more, prompt).report.verdict.startswith(verdict)


def test_face_restoration_is_taken_over_where_its_weights_are() -> None:
    text = f"a cat\n{BASE}, Face restoration: CodeFormer, CodeFormer weight: 0.25"
    assert "models/Codeformer" in reason(from_infotext(text, CATALOG, Settings()), "Face restoration")
    there = replace(CATALOG, face_restorers=(FaceRestorerInfo(kind="CodeFormer", path="/c/codeformer.pth"),))
    pasted = from_infotext(text, there, Settings())
    assert {field.key for field in pasted.report.overrides} >= {"Face restoration", "CodeFormer weight"} and not pasted.report.ignored


OLD = f"a cat\n{BASE}"


def test_a_prompt_with_colons_is_pasted_whole() -> None:
    text = "(masterpiece:1.2), (best quality:1.3), (red hair:1.1)"
    pasted = from_infotext(text, CATALOG, Settings())
    assert pasted.values == {"prompt": text, "neg_prompt": ""} and not pasted.report.has_parameters


@pytest.mark.parametrize(
    ("written", "second", "expected"),
    [
        ("DPM++ 2M, Schedule type: Karras", "Euler", ("Euler", "Karras")),
        ("DPM++ 2M, Schedule type: Karras", "Euler, Hires schedule type: Automatic", ("Euler", "Automatic")),
        ("DPM++ 2M Karras", "Euler", ("Euler", "Automatic")),
        ("Euler", "DPM++ SDE Karras", ("DPM++ SDE", "Karras")),
        ("Euler, Version: v1.6.0", "DPM++ 2M", ("DPM++ 2M", "Uniform")),
        ("DPM++ 2M, Version: v1.6.0", "Euler", ("Euler", "Automatic")),
    ],
)
def test_a_second_pass_with_its_own_sampler_has_the_schedule_that_it_had(written: str, second: str, expected: tuple[str, str]) -> None:
    text = OLD.replace("Euler a", written) + f", Denoising strength: 0.5, Hires upscale: 2, Hires sampler: {second}"
    values = from_infotext(text, CATALOG, Settings()).values
    assert (values["hr_sampler"], values["hr_scheduler"]) == expected


@pytest.mark.parametrize("more", [", First pass size: 32x48", ", Hires resize: 64x96"])
def test_a_size_alone_makes_a_second_pass(more: str) -> None:
    pasted = paste(f", Denoising strength: 0.7{more}")
    values = pasted.values
    assert values["hr"] and (values["hr_resize_x"], values["hr_resize_y"]) == (64, 96) and values["hr_upscaler"] == "Latent"
    assert pasted.report.verdict == "Will give the same picture."
    if "First" in more:
        assert (values["width"], values["height"]) == (32, 48)
    assert not paste(", Denoising strength: 0.7, Hires resize: 0x0").values["hr"]


@pytest.mark.parametrize(
    ("sampler", "version", "schedule", "doubtful"),
    [
        ("DPM++ 2M", "v1.8.0", "Uniform", False),
        ("DPM2 a", "v1.8.0-100-gab12", "Uniform", False),
        ("DPM++ 2M Karras", "v1.8.0", "Automatic", False),
        ("Restart", "v1.8.0", "Automatic", False),
        ("DPM++ 2M, Schedule type: Karras", "v1.8.0-200-gab12", "Automatic", False),
        ("DPM++ 2M", "v1.9.0-RC", "Automatic", False),
        ("DPM++ 2M", "", "Automatic", True),
        ("DPM++ 2M, Schedule type: Karras", "", "Automatic", False),
        ("Euler", "", "Automatic", False),
    ],
)
def test_before_schedule_types_a_plain_name_was_the_plain_schedule(sampler: str, version: str, schedule: str, doubtful: bool) -> None:
    text = OLD.replace("Euler a", sampler) + (f", Version: {version}" if version else "")
    pasted = from_infotext(text, CATALOG, Settings())
    assert pasted.values["scheduler"] == schedule
    assert any("before 1.9" in doubt for doubt in pasted.report.doubts) == doubtful
    assert [field.became for field in pasted.report.applied if field.key == "Schedule type"] in ([], [""], [f"as version {version} did"])


def test_the_seeds_extra_opens_with_all_of_its_values() -> None:
    names = ("subseed_show", "subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h")

    def extra(more: str) -> list[Any]:
        return [paste(more).values.get(name) for name in names]

    assert extra(", Variation seed: 3, Variation seed strength: 0.5") == [True, 3, 0.5, 0, 0]
    assert extra(", Seed resize from: 64x32") == [True, -1, 0.0, 64, 32]
    assert extra("") == [False, None, None, None, None]


def test_a_schedule_is_taken_over_beside_an_unknown_sampler() -> None:
    assert from_infotext(OLD.replace("Euler a", "Sharp, Schedule type: Beta"), CATALOG, Settings()).values["scheduler"] == "Beta"
    assert "scheduler" not in from_infotext(OLD.replace("Euler a", "Sharp"), CATALOG, Settings()).values


def test_arguments_of_extensions_make_a_difference() -> None:
    report = paste(f', Lora hashes: "gold: {"34" * 6}"', "<lora:gold:0.8:lbw=MIDD:te=1>").report
    assert report.verdict == "Will differ because lbw= in a LoRA's tag has no effect here."


@pytest.mark.parametrize("more", ["Dynamic prompts, Template: a {cat|dog}", "Prompts from file or textbox", "Filmstrip, Film frames: 3"])
def test_a_script_whose_values_the_text_does_not_hold_is_not_chosen(more: str) -> None:
    pasted = paste(f", Script: {more}")
    assert pasted.values["script_list"] == "None"
    assert all("does not hold" in field.became for field in pasted.report.ignored) and pasted.report.ignored


def test_every_field_of_the_text_is_in_the_report() -> None:
    text = ", Frobnication: 3, Hires steps: 4, ENSD: 2x3, Mask blur: 4, Schedule type: Swirl, Tiling: True"
    report = paste(text).report
    listed = [field.key for group in (report.applied, report.overrides, report.substituted, report.ignored) for field in group]
    assert sorted(listed) == sorted(
        ["Steps", "Sampler", "CFG scale", "Seed", "Size", "Frobnication", "Hires steps", "ENSD", "Mask blur", "Schedule type", "Tiling"]
    )
    assert "Swirl" in reason(paste(text), "Schedule type")


def test_a_sampler_s_old_name_is_substituted_without_a_difference() -> None:
    pasted = from_infotext(f"a cat\n{BASE}".replace("Euler a", "DPM++ SDE Karras"), CATALOG, Settings())
    assert [(field.key, field.value) for field in pasted.report.substituted] == [("Sampler", "DPM++ SDE Karras")]
    assert pasted.report.verdict == "Will give the same picture."


def test_an_upscaler_that_is_not_here_is_substituted_with_a_difference() -> None:
    report = paste(", Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+").report
    assert [(field.value, field.became) for field in report.substituted] == [("R-ESRGAN 4x+", "Latent")]
    assert "R-ESRGAN" in report.verdict


def test_checkpoint_and_vae_become_overrides() -> None:
    text = f"x\n{BASE}, VAE hash: efefefefef, VAE: other.pt".replace("ababababab, Model: starter", "cdcdcdcdcd, Model: renamed")
    pasted = from_infotext(text, CATALOG, Settings(page=Page(keep_checkpoint_on_paste=False)))
    assert parse_overrides(override_entries(pasted.options, {"sd_vae": "Automatic"}))[-2:] == (
        ("sd_model_checkpoint", "sub/sd15.safetensors [cdcdcdcdcd]"),
        ("sd_vae", "soft.safetensors"),
    )
    assert pasted.report.verdict == "Will give the same picture."
    kept = from_infotext(text, CATALOG, Settings())
    assert "the checkpoint in use, starter.safetensors, stays" in kept.report.verdict


@given(text=st.text(max_size=200), settings=st.sampled_from([Settings(), Settings(models=Models(checkpoint="gone", vae="gone.pt"))]))
@example(text="-1: 1, a-1: 2, a-2: 3", settings=Settings())
@example(text="ENSD: 2x3, Size: 1, Hires resize: x, Denoising strength: 1e999, Pad conds: maybe", settings=Settings())
def test_no_text_raises(text: str, settings: Settings) -> None:
    empty: dict[str, Any] = {"samplers": CATALOG.samplers, "schedules": CATALOG.schedules}
    for catalog in (CATALOG, Catalog(**empty)):
        for whole in (text, f"x\n{BASE}, {text}", f"<lora:{text}:1> [{text}]\n{BASE}, Version: {text}, Lora hashes: {text}"):
            assert from_infotext(whole, catalog, settings).report.verdict


def test_the_block_shows_every_text_as_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    markup = report_markup(paste(f", Frobnication: {evil}, User: {evil}, Lora hashes: gold: 1", "<lora:<i & co:1>").report)
    assert "<img" not in markup and "&lt;img" in markup
    assert markup.startswith("<details><summary>Pasted parameters: Will differ because its LoRA &lt;i &amp; co is not here")
    assert "<h4>Not used</h4>" in markup and "<h4>Models</h4>" in markup


def test_a_grid_brings_its_script_and_axes_back() -> None:
    pasted = paste(
        ', Script: X/Y/Z plot, X Type: Steps, X Values: 1-5, Y Type: Sampler, Y Values: "Euler,Heun", Z Type: Size, Z Values: 64x96'
    )
    shown = {name.removeprefix("script_xyz_plot_"): value for name, value in pasted.values.items() if name.startswith("script_")}
    assert shown["script_list"] == "X/Y/Z plot"
    assert (shown["x_type"], shown["x_values"]) == ("Steps", "1-5")
    assert (shown["y_type"], shown["y_values_dropdown"]) == ("Sampler", ["Euler", "Heun"])
    assert (shown["z_type"], shown["z_values"]) == ("Size", "64x96")
    assert not pasted.report.ignored
    assert paste().values["script_list"] == "None"
    assert "no script" in reason(paste(", Script: Loopback"), "Script")
    assert "token merging" in reason(paste(", Script: X/Y/Z plot, X Type: Token merging ratio, X Values: 0.5"), "X Type")
