"""/sdapi/v1/txt2img: what a client asks for is what the queue gets, and what comes back is what A1111's clients read."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from modules.domain.catalog import FaceRestorerInfo
from modules.domain.requests import GenerationRequest, HiresPass, Refiner, Seed
from modules.imaging.files import read_infotext
from modules.settings.values import settings_to_json
from tests.http_api.front import CATALOG, Front


def asked(front: Front, **body: Any) -> GenerationRequest:
    return front.draw(**body)[2].request


def test_the_defaults_are_a1111s(shared: Front):
    answer = shared.post("txt2img", {})
    request = shared.context.queue.get(json.loads(answer["info"])["job_id"]).request
    assert (request.steps, request.width, request.height, request.cfg_scale) == (50, 512, 512, 7.0)
    assert (request.sampler, request.schedule, request.image_count, request.seed) == ("euler", "automatic", 1, Seed())
    assert request.hires is None and request.refiner is None
    sent = answer["parameters"]
    assert sent["steps"] == 50 and sent["sampler_name"] is None and sent["sampler_index"] == "Euler" and sent["denoising_strength"] == 0.75
    assert {"hr_prompt", "alwayson_scripts", "script_args", "s_tmax", "force_task_id", "override_settings"} <= set(sent)


def test_the_pictures_are_the_stored_files_with_their_parameters(shared: Front):
    answer, info, job = shared.draw(batch_size=2, n_iter=2)
    assert len(answer["images"]) == 4 and info["index_of_first_image"] == 0
    for number, text in enumerate(answer["images"]):
        file = base64.b64decode(text)
        assert Image.open(io.BytesIO(file)).format == "PNG"
        assert read_infotext(io.BytesIO(file)) == info["infotexts"][number]
    rows = sorted(shared.context.gallery.for_job(job.id), key=lambda row: row.index)
    assert info["all_seeds"] == [row.seed for row in rows]
    assert base64.b64decode(answer["images"][0]) == shared.context.gallery.path(rows[0].id).read_bytes()


INFO_TYPES = {
    **dict.fromkeys(("prompt", "negative_prompt", "sampler_name", "sd_model_name", "sd_model_hash", "job_timestamp", "version"), str),
    **dict.fromkeys(("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "infotexts", "styles"), list),
    **dict.fromkeys(("seed", "subseed", "width", "height", "steps", "batch_size", "seed_resize_from_w", "seed_resize_from_h"), int),
    **dict.fromkeys(("index_of_first_image", "clip_skip"), int),
    **dict.fromkeys(("restore_faces", "is_using_inpainting_conditioning"), bool),
    "extra_generation_params": dict,
}


def test_info_has_every_field_in_the_type_that_strict_clients_want(shared: Front):
    info = shared.draw(seed=5)[1]
    assert {name: type(info[name]) for name in INFO_TYPES} == INFO_TYPES
    assert (
        info["denoising_strength"] == 0.75
        and isinstance(info["cfg_scale"], (int, float))
        and isinstance(info["subseed_strength"], (int, float))
    )
    assert {"face_restoration_model", "sd_vae_name", "sd_vae_hash"} <= set(info)
    assert (info["sd_model_name"], info["sd_model_hash"], info["sampler_name"]) == ("tiny", "ab" * 5, "Euler")


@pytest.mark.parametrize(
    ("names", "sampler", "schedule"),
    [
        ({"sampler_name": "Euler a"}, "euler_ancestral", "automatic"),
        ({"sampler_name": "k_dpmpp_2m", "scheduler": "Karras"}, "dpmpp_2m", "automatic"),
        ({"sampler_name": "DPM++ 2M Karras"}, "dpmpp_2m", "automatic"),
        ({"sampler_name": "Euler", "scheduler": "karras"}, "euler", "karras"),
        ({"sampler_name": "", "sampler_index": "DDIM"}, "ddim", "automatic"),
        ({"sampler_name": "Euler", "sampler_index": "DDIM", "scheduler": "automatic"}, "euler", "automatic"),
        ({"sampler_name": None, "scheduler": None}, "euler", "automatic"),
        ({"sampler_name": "Euler", "scheduler": "SGMUniform"}, "euler", "sgm_uniform"),
    ],
)
def test_samplers_by_any_of_their_names(shared: Front, names: dict[str, Any], sampler: str, schedule: str):
    request = asked(shared, **names)
    assert (request.sampler, request.schedule) == (sampler, schedule)


def test_an_unknown_sampler_is_refused_with_those_that_there_are(shared: Front):
    problem = shared.post("txt2img", {"sampler_name": "Dream"}, 400)
    assert problem["detail"] == "Sampler not found" and "DPM++ 2M" in problem["errors"]
    assert set(problem) == {"error", "detail", "body", "errors"} and problem["error"] == "HTTPException"


def test_a_schedule_that_is_unknown_here_is_automatic_with_a_note(shared: Front):
    _, info, job = shared.draw(sampler_name="DPM++ 2M", scheduler="beta57")
    assert (job.request.sampler, job.request.schedule) == ("dpmpp_2m", "automatic")
    assert "scheduler: 'beta57' is none of the schedules here; Automatic was used." in info["notes"]


def test_a_checkpoint_that_a_client_left_empty_is_the_one_in_use(own: Front):
    own.post("options", {"sd_model_checkpoint": "other"})
    own.post("options", {"sd_model_checkpoint": ""})
    _, info, job = own.draw(override_settings={"sd_model_checkpoint": ""})
    assert job.request.checkpoint == "sub/other.ckpt"
    assert info["sd_model_name"] == "other"


def test_seeds_and_variations(shared: Front):
    request = asked(
        shared, seed="123456789012", subseed=7.0, subseed_strength=0.25, seed_resize_from_w=64, seed_resize_from_h=96
    )  # numbers as text and as floats, as clients send them
    assert request.seed == Seed(value=123456789012, variation=7, variation_strength=0.25, resize_from=(64, 96))


def test_hires_fields(shared: Front):
    hires = {
        "enable_hr": True,
        "hr_scale": 1.5,
        "hr_upscaler": "2x_Sharp",
        "hr_second_pass_steps": 3,
        "denoising_strength": 0.4,
        "hr_sampler_name": "DPM++ 2M SDE Karras",
        "hr_scheduler": "Use same scheduler",
        "hr_checkpoint_name": "other",
        "hr_prompt": "second",
    }
    assert asked(shared, **hires).hires == HiresPass(
        upscaler="2x_Sharp",
        denoising_strength=0.4,
        steps=3,
        scale=1.5,
        checkpoint="sub/other.ckpt",
        sampler="dpmpp_2m_sde",
        schedule="karras",
        prompt="second",
    )
    assert asked(shared, enable_hr=True).hires == HiresPass(upscaler="Latent", denoising_strength=0.75, scale=2.0)
    legacy = asked(shared, enable_hr=True, width=512, height=768, firstphase_width=256, firstphase_height=384)
    assert (legacy.width, legacy.height) == (256, 384)
    assert legacy.hires is not None and (legacy.hires.width, legacy.hires.height) == (512, 768)


def test_refiner_fields(shared: Front):
    assert asked(shared, refiner_checkpoint="other", refiner_switch_at=0.6).refiner == Refiner(checkpoint="sub/other.ckpt", switch_at=0.6)
    assert asked(shared, refiner_checkpoint="None", refiner_switch_at=0.6).refiner is None
    problem = shared.post("txt2img", {"refiner_checkpoint": "nowhere"}, 422)
    assert "nowhere" in problem["detail"] and problem["error"] == "ModelNotFound"


def test_styles_are_in_the_second_pass_too(shared: Front):
    given = {"prompt": "a cat", "styles": ["Ink"], "enable_hr": True}
    hires = asked(shared, **given, hr_prompt="a sharp cat").hires
    assert hires is not None
    assert (hires.prompt, hires.negative_prompt) == ("ink drawing of a sharp cat", "")
    plain = asked(shared, **given).hires
    assert plain is not None
    assert plain.prompt == ""


def test_styles_and_extra_networks(shared: Front):
    _, info, job = shared.draw(prompt="a cat", styles=["Ink", "Nothing"])
    assert (job.request.prompt, job.request.negative_prompt) == ("ink drawing of a cat", "photo")
    assert info["styles"] == ["Ink"] and info["prompt"] == "ink drawing of a cat"
    assert any("Nothing" in note for note in info["notes"])
    assert asked(shared, prompt="a <lora:ink:0.5> cat").prompt == "a <lora:ink:0.5> cat"
    assert "<" not in asked(shared, prompt="a <lora:ink:0.5> cat", disable_extra_networks=True).prompt


def test_override_settings_hold_for_one_request(own: Front):
    before = own.context.settings.as_options()
    overrides = {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "sub/other.ckpt [0123456789]", "sd_vae": "nice.safetensors"}
    asked = {**overrides, "forge_preset": "sd", "sd_checkpoint_hash": "x"}
    _, info, job = own.draw(override_settings=asked, override_settings_restore_afterwards=False)
    assert (job.request.clip_skip, job.request.checkpoint, job.request.vae) == (2, "sub/other.ckpt", "nice.safetensors")
    assert any("forge_preset" in note for note in info["notes"]) and info["sd_model_name"] == "other"
    assert own.context.settings.as_options() == before
    _, info, job = own.draw(override_settings={"sd_model_checkpoint": "nowhere", "sd_vae": "nowhere"})
    assert job.request.checkpoint == "tiny.safetensors" and sum("nowhere" in note for note in info["notes"]) == 2
    assert "Clip skip" in own.post("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": 99}}, 422)["detail"]


def test_sampler_numbers_become_options_of_the_request(shared: Front):
    settings = shared.draw(eta=0.5, s_churn=2, s_tmin=0.1, s_tmax=9, s_noise=1.05, s_min_uncond=1)[2].settings.sampling
    found = (settings.eta_ancestral, settings.s_churn, settings.s_tmin, settings.s_tmax, settings.s_noise, settings.min_negative_sigma)
    assert found == (0.5, 2.0, 0.1, 9.0, 1.05, 1.0) and settings.eta_ddim == 0.0
    assert shared.draw(eta=1.0, sampler_name="DDIM")[2].settings.sampling.eta_ddim == 1.0


def test_pictures_are_kept_only_when_asked_for(own: Front):
    outputs = own.context.paths.outputs
    answer, _, _ = own.draw(n_iter=2)
    assert len(answer["images"]) == 2 and not list(outputs.glob("txt2img-*/**/*.png"))
    answer, _, _ = own.draw(n_iter=2, save_images=True, send_images=False)
    assert answer["images"] == [] and len(list(outputs.glob("txt2img-images/**/*.png"))) == 2
    own.draw(save_images=True, do_not_save_samples=True)
    assert len(list(outputs.glob("txt2img-images/**/*.png"))) == 3


def test_an_infotext_fills_what_the_request_leaves_open(shared: Front):
    text = (
        "a cat\nNegative prompt: dog\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, Seed: 42, Size: 64x96, "
        "Model: other, Clip skip: 2, Denoising strength: 0.3, Hires upscale: 1.5, Hires upscaler: Lanczos, Version: v1.10.1"
    )
    answer = shared.post("txt2img", {"infotext": text, "steps": 3, "override_settings": {"eta_noise_seed_delta": 31337}})
    job = shared.context.queue.get(json.loads(answer["info"])["job_id"])
    request = job.request
    assert (request.prompt, request.negative_prompt, request.steps, request.sampler) == ("a cat", "dog", 3, "euler_ancestral")
    assert (request.schedule, request.cfg_scale, request.seed.value, request.width, request.height) == ("karras", 5.5, 42, 64, 96)
    assert request.hires == HiresPass(upscaler="Lanczos", denoising_strength=0.3, scale=1.5)
    assert request.clip_skip == 2 and job.settings.sampling.noise_seed_delta == 31337
    assert request.checkpoint == "tiny.safetensors"  # the setting says that pasted checkpoints are disregarded
    assert asked(shared, infotext="dog\nSteps: x, Seed: y, RNG: moon, Width: 3").prompt == "draw"


def test_scripts_that_are_fields_here(shared: Front):
    scripts = {
        "Sampler": {"args": [4, "DDIM", "Simple", "too many"]},
        "seed": {"args": [9, True, 3, 0.5]},
        "refiner": {"args": [False, "other", 0.5]},
    }
    request = asked(shared, alwayson_scripts=scripts)
    assert (request.steps, request.sampler, request.schedule, request.seed.value, request.seed.variation) == (4, "ddim", "simple", 9, 3)
    assert request.refiner is None
    assert asked(shared, alwayson_scripts={"refiner": {"args": [True, "other"]}}).refiner == Refiner(checkpoint="sub/other.ckpt")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"script_name": "Ultimate SD upscale"}, "Script 'Ultimate SD upscale' not found"),
        ({"script_name": "Loopback"}, "Script 'Loopback' not found"),
        ({"script_name": "Prompt matrix", "script_args": [False, False, "sideways"]}, "Select prompt must be one of"),
        ({"alwayson_scripts": {"Prompt matrix": {"args": []}}}, "Cannot have a selectable script"),
        ({"alwayson_scripts": {"ADetailer": {"args": []}}}, "always on script ADetailer not found"),
        ({"alwayson_scripts": {"soft inpainting": {"args": [True]}}}, "always on script soft inpainting not found"),
        ({"alwayson_scripts": {"seed": 5}}, "args"),
        ({"alwayson_scripts": {"sampler": {"args": [[]]}}}, "steps"),
        ({"width": 8}, "Width"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 100}, "Batch size"),
        ({"cfg_scale": 1e9}, "CFG"),
        ({"seed": -7}, "Seed"),
        ({"enable_hr": True, "hr_upscaler": "Dream"}, "upscaler"),
        ({"steps": "many"}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"prompt": ["a"]}, "prompt"),
        ([], "body"),
    ],
)
def test_bad_input_is_answered_in_a1111s_shape(shared: Front, body: Any, detail: str):
    problem = shared.post("txt2img", body, 422)
    assert set(problem) == {"error", "detail", "body", "errors"} and detail in problem["errors"]
    if isinstance(problem["detail"], list):
        assert {"loc", "msg", "type"} <= set(problem["detail"][0])


def test_what_a_client_adds_of_its_own_is_ignored_and_what_it_nulls_is_the_default(shared: Front):
    fields = shared.post("txt2img", {"prompt": "draw"})["parameters"]
    body = {**dict.fromkeys(fields), "prompt": "draw", "url": "http://x", "auth": "", "clip_skip": 3}
    assert shared.post("txt2img", body)["parameters"] == fields


def test_a_size_between_steps_is_rounded_down_as_in_a1111_and_said_so(shared: Front):
    _, info, job = shared.draw(width=70, height=64)
    assert job.request.width == 64 and any("width" in note for note in info["notes"])


def test_what_has_no_effect_is_said(shared: Front):
    _, info, job = shared.draw(tiling=True, restore_faces=True)
    assert any(note.startswith("restore_faces") for note in info["notes"])
    assert any(note.startswith("tiling") for note in info["notes"]) != ("tiling" in shared.get("options"))
    assert settings_to_json(job.settings)["models"].get("tiling", True) is True
    assert shared.draw(tiling=False, restore_faces=False)[1]["notes"] == ["scripted note"]


def test_faces_are_restored_where_the_weights_are(own: Front):
    _, info, job = own.draw(restore_faces=True)
    assert job.settings.faces.restorer == "None" and any("models/Codeformer" in note for note in info["notes"])
    own.catalog.current = replace(CATALOG, face_restorers=(FaceRestorerInfo(kind="GFPGAN", path="/g/GFPGANv1.4.pth"),))
    assert own.draw(restore_faces=True)[2].settings.faces.restorer == "GFPGAN"
    own.context.settings.update({"face_restoration_model": "GFPGAN"})
    asked: list[tuple[Any, str]] = [(None, "GFPGAN"), (True, "GFPGAN"), (False, "None")]
    assert [own.draw(restore_faces=wish)[2].settings.faces.restorer for wish, _ in asked] == [wanted for _, wanted in asked]
    _, info, job = own.draw(override_settings={"face_restoration_model": "CodeFormer", "code_former_weight": 0.2})
    assert (job.settings.faces.restorer, job.settings.faces.weight) == ("None", 0.2)
    assert any("There is no CodeFormer here" in note for note in info["notes"])
    assert own.draw(infotext="a cat\nSteps: 4, Face restoration: GFPGAN")[2].settings.faces.restorer == "GFPGAN"


def test_failures_of_the_engine(shared: Front):
    problem = shared.post("txt2img", {"prompt": "refuse"}, 500)
    assert problem["error"] == "OutOfMemory" and problem["detail"] == "The scripted device is full."
    assert "scripted defect" in shared.post("txt2img", {"prompt": "raise"}, 500)["errors"]
    assert len(shared.draw()[0]["images"]) == 1
