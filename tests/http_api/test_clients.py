"""What well-known clients send, in the order in which they send it, and what they read of the answers."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from PIL import Image

from tests.http_api.front import Front, picture


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text.split(",", 1)[-1])))


def test_open_webui(own: Front):
    """Reads and sends back the whole options object; its Basic header is always there and mostly empty."""
    headers = {"authorization": ""}
    http = own.client
    options = http.get("/sdapi/v1/options", headers=headers).json()
    models = http.get("/sdapi/v1/sd-models", headers=headers).json()
    assert options["sd_model_checkpoint"] in [model["title"] for model in models]
    options["sd_model_checkpoint"] = models[1]["title"]
    assert http.post("/sdapi/v1/options", json=options, headers=headers).json() is None
    body = {"prompt": "draw", "batch_size": 2, "width": 512, "height": 512, "steps": 2, "negative_prompt": "", "sampler_name": "Euler"}
    answer = http.post("/sdapi/v1/txt2img", json=body, headers=headers).json()
    assert len([opened(image) for image in answer["images"]]) == 2
    info = json.loads(answer["info"])
    assert info["sd_model_name"] == "other" and http.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == models[1]["title"]


def test_sillytavern(own: Front):
    """Lists first, then a picture with keys of its own, polling until nothing runs."""
    for name in ("options", "upscalers", "latent-upscale-modes", "sd-vae", "samplers", "schedulers", "sd-models"):
        own.get(name)
    assert own.get("upscalers")[0]["name"] == "None"
    assert own.post("options", {"sd_model_checkpoint": own.get("sd-models")[0]["title"]}) is None
    progress = own.get("progress")
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    body = {
        "url": "http://localhost:7860",
        "auth": "",
        "prompt": "draw",
        "negative_prompt": "bad",
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": 2,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "restore_faces": False,
        "enable_hr": False,
        "hr_upscaler": "Latent",
        "hr_scale": 2,
        "hr_additional_modules": [],
        "denoising_strength": 0.7,
        "hr_second_pass_steps": 0,
        "seed": -1,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_vae": "Automatic", "forge_additional_modules": []},
        "override_settings_restore_afterwards": True,
        "clip_skip": 2,
        "save_images": True,
        "send_images": True,
        "do_not_save_grid": False,
        "do_not_save_samples": False,
    }
    answer = own.post("txt2img", body)
    assert opened(answer["images"][0]).format == "PNG" and json.loads(answer["info"])["clip_skip"] == 2
    assert own.post("interrupt") == {}


def test_the_photoshop_plugin(own: Front):
    """Its seed is text, dozens of its keys are private, and it asks for the parameters of every picture."""
    for name in ("options", "samplers", "sd-models", "upscalers", "embeddings", "loras", "hypernetworks", "scripts", "prompt-styles"):
        own.get(name)
    for path in ("/controlnet/version", "/controlnet/model_list", "/sdapi/auto-photoshop-sd/config"):
        assert own.client.get(path).status_code == 404
    private = {
        **{"auto_mask": False, "backup_prompt": "x", "b_use_smart_object": True, "expanded_mask": "", "selection_info": {"left": 0}},
        **{"uniqueDocumentId": "1", "mode": "txt2img", "width_slider": 512, "mask_expansion": 12, "use_prompt_shortcut": False},
    }
    common = {
        **private,
        "prompt": "draw",
        "negative_prompt": "",
        "steps": 2,
        "n_iter": 1,
        "batch_size": 1,
        "seed": "-1",
        "cfg_scale": "7",
        "sampler_index": "Euler a",
        "styles": [],
        "width": 64,
        "height": 64,
        "alwayson_scripts": {},
    }
    answer = own.post("txt2img", {**common, "enable_hr": False, "hr_resize_x": 0, "hr_scale": 2, "hr_upscaler": "None"})
    found = own.post("png-info", {"image": "data:image/png;base64," + answer["images"][0]})
    settings = found["info"].rsplit("\n", 1)[1].split(", ")
    assert dict(pair.split(": ", 1) for pair in settings)["Steps"] == "2"
    masked = {"init_images": ["data:image/png;base64," + picture()], "mask": picture(mode="L"), "inpaint_full_res_padding": 32}
    more = {"inpainting_fill": 1, "inpaint_full_res": True, "mask_blur": 4, "inpainting_mask_invert": False, "denoising_strength": 0.75}
    assert own.post("img2img", {**common, **masked, **more})["images"]


def test_webuiapi(own: Front):
    """It asks for the scripts at once, sends every field, and reads null bodies as JSON."""
    scripts = own.get("scripts")["txt2img"]
    assert not {"controlnet m2m", "adetailer", "animatediff"} & set(scripts)
    shared = {
        "prompt": "draw",
        "styles": [],
        "seed": 5,
        "subseed": -1,
        "subseed_strength": 0.0,
        "seed_resize_from_h": 0,
        "seed_resize_from_w": 0,
        "batch_size": 1,
        "n_iter": 1,
        "steps": 2,
        "cfg_scale": 7.0,
        "width": 64,
        "height": 64,
        "restore_faces": False,
        "tiling": False,
        "do_not_save_samples": False,
        "do_not_save_grid": False,
        "negative_prompt": "",
        "eta": 1.0,
        "s_churn": 0,
        "s_tmax": 0,
        "s_tmin": 0,
        "s_noise": 1,
        "override_settings": {},
        "override_settings_restore_afterwards": True,
        "sampler_name": "Euler a",
        "sampler_index": "Euler a",
        "scheduler": "automatic",
        "script_name": None,
        "script_args": [],
        "send_images": True,
        "save_images": False,
        "alwayson_scripts": {},
        "denoising_strength": 0.7,
    }
    hires = {"enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0}
    more = {"firstphase_width": 0, "firstphase_height": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None}
    answer = own.post("txt2img", {**shared, **hires, **more, "hr_prompt": "", "hr_negative_prompt": "", "use_deprecated_controlnet": False})
    assert json.loads(answer["info"])["seed"] >= 0 and answer["parameters"]["steps"] == 2
    init = {"init_images": ["data:image/png;base64," + picture()], "resize_mode": 0, "mask": None, "image_cfg_scale": 1.5, "mask_blur": 4}
    fill = {"inpainting_fill": 0, "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0}
    answer = own.post("img2img", {**shared, **init, **fill, "initial_noise_multiplier": 1, "include_init_images": False})
    assert len(answer["images"]) == 1
    for name in ("refresh-checkpoints", "skip"):
        assert own.post(name) is None
    assert own.post("options", {"sd_model_checkpoint": "other"}) is None


def test_webuiapi_enlarges(own: Front):
    """`extra_single_image` and `extra_batch_images`: every field, integers where there are numbers, names of its own making."""
    common = {
        "resize_mode": 0,
        "show_extras_results": True,
        "gfpgan_visibility": 0,
        "codeformer_visibility": 0,
        "codeformer_weight": 0,
        "upscaling_resize": 2,
        "upscaling_resize_w": 512,
        "upscaling_resize_h": 512,
        "upscaling_crop": True,
        "upscaler_1": "Lanczos",
        "upscaler_2": "None",
        "extras_upscaler_2_visibility": 0,
        "upscale_first": False,
    }
    answer = own.post("extra-single-image", {**common, "image": "data:image/png;base64," + picture()})
    assert opened(answer["image"]).size == (128, 96) and isinstance(answer["html_info"], str)
    files = [{"data": "data:image/png;base64," + picture(), "name": f"image{number:05}"} for number in (1, 2)]
    answer = own.post("extra-batch-images", {**common, "imageList": files})
    assert [opened(image).size for image in answer["images"]] == [(128, 96)] * 2 and isinstance(answer["html_info"], str)


def test_sd_backend_client(own: Front):
    """Strict models: it wants every key, waits for an idle server, and names its tasks."""
    state = own.get("progress")["state"]
    assert state["job_count"] == 0 and len(state) == 9
    assert own.client.get("/system_stats").status_code == 404
    body: dict[str, Any] = {"prompt": "draw", "steps": 2, "force_task_id": "task(1)", "sampler_name": "Euler", "scheduler": "Automatic"}
    title = own.get("sd-models")[1]["title"].split(" [")[0]
    answer = own.post("txt2img", {**body, "override_settings": {"sd_model_checkpoint": title, "sd_vae": "None"}})
    info = json.loads(answer["info"])
    assert info["restore_faces"] is False and info["sd_model_name"] == "other" and isinstance(info["sd_model_hash"], str)
    assert own.client.post("/internal/progress", json={"id_task": "task(1)"}).json()["completed"] is True


def test_image_generation_mcp(own: Front):
    """It names sampler and schedule apart, and reads the seed and the model back."""
    body = {"prompt": "draw", "steps": 2, "sampler_name": "DPM++ 2M", "scheduler": "Karras", "distilled_cfg_scale": 3.5, "cfg_scale": 1.0}
    answer = own.post("txt2img", {**body, "width": 1024, "height": 1024})
    info = json.loads(answer["info"])
    assert isinstance(info["seed"], int) and info["sd_model_name"] == "tiny" and opened(answer["images"][0]).format == "PNG"
