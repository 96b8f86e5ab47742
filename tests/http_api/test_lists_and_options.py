"""What there is to choose from, in the shapes that clients read, and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.settings.flags import Flags
from modules.settings.rows import rows
from tests.http_api.front import Front, front, picture
from tests.webui_process import wait_for

INFOTEXT = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x96"


def test_samplers_and_schedules(shared: Front):
    samplers = {row["name"]: row for row in shared.get("samplers")}
    assert samplers["DPM++ 2M"] == {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}
    assert "k_euler_a" in samplers["Euler a"]["aliases"] and len(samplers) >= 20
    schedules = {row["name"]: row for row in shared.get("schedulers")}
    assert schedules["karras"] == {"name": "karras", "label": "Karras", "aliases": [], "default_rho": 7.0, "need_inner_model": False}
    assert shared.get("schedulers")[0]["label"] == "Automatic"


def test_models(shared: Front):
    first, second = shared.get("sd-models")
    assert first["title"] == f"tiny.safetensors [{'ab' * 5}]" and first["model_name"] == "tiny" and first["hash"] == "ab" * 5
    assert first["filename"] == "/m/tiny.safetensors" and first["config"] is None
    assert second["title"] == "sub/other.ckpt" and second["hash"] is None and second["sha256"] is None
    vaes = [{"model_name": "nice.safetensors", "filename": "/v/nice.safetensors"}]
    assert shared.get("sd-vae") == vaes and shared.get("sd-modules") == vaes
    upscalers = shared.get("upscalers")
    assert [row["name"] for row in upscalers] == ["None", "Lanczos", "Nearest", "2x_Sharp"]
    assert all(isinstance(row["scale"], float) for row in upscalers) and upscalers[3]["scale"] == 2.0
    assert [row["name"] for row in shared.get("latent-upscale-modes")][:2] == ["Latent", "Latent (antialiased)"]
    assert shared.get("loras")[0] == {
        "name": "ink",
        "alias": "inky",
        "path": "/l/ink.safetensors",
        "metadata": {"ss_output_name": "inky"},
    }
    assert shared.get("embeddings")["loaded"]["bad"]["vectors"] == 2 and shared.get("embeddings")["skipped"] == {}
    assert shared.get("prompt-styles") == [{"name": "Ink", "prompt": "ink drawing of {prompt}", "negative_prompt": "photo"}]


@pytest.mark.parametrize("name", ["hypernetworks", "face-restorers", "realesrgan-models", "extensions"])
def test_what_is_not_here_is_an_empty_list(shared: Front, name: str):
    assert shared.get(name) == []


def test_scripts(shared: Front):
    both = ["refiner", "sampler", "seed"]
    names = shared.get("scripts")
    assert names["txt2img"][-3:] == both and names["img2img"][-4:] == [*both, "soft inpainting"]
    assert "prompt matrix" in names["txt2img"] and "loopback" in set(names["img2img"]) - set(names["txt2img"])
    infos = [info for info in shared.get("script-info") if info["is_alwayson"]]
    assert [info["is_img2img"] for info in infos] == [False] * 3 + [True] * 4
    assert infos[0]["args"][2] == {"label": "Switch at", "value": 0.8, "minimum": 0.0, "maximum": 1.0, "step": 0.01, "choices": None}


@pytest.mark.parametrize("name", ["refresh-embeddings", "refresh-checkpoints", "refresh-vae", "refresh-loras"])
def test_refreshing_answers_null(shared: Front, name: str):
    before = shared.catalog.refreshed
    assert shared.post(name) is None and shared.catalog.refreshed == before + 1


def test_every_option_is_there_and_the_checkpoint_is_the_one_in_use(shared: Front):
    options = shared.get("options")
    assert {row.control.key for row in rows()} <= set(options)
    assert options["sd_model_checkpoint"] == f"tiny.safetensors [{'ab' * 5}]" and options["sd_checkpoint_hash"] == "ab" * 32


def test_the_whole_object_sent_back_changes_nothing(own: Front):
    before = own.context.settings.version
    assert own.post("options", own.get("options")) is None
    assert own.context.settings.version == before


def test_setting_options(own: Front):
    changes = {"sd_model_checkpoint": "other", "CLIP_stop_at_last_layers": "2", "sd_vae": "None", "hide_samplers": ["LMS"]}
    assert own.post("options", changes) is None
    options = own.get("options")
    assert (options["sd_model_checkpoint"], options["CLIP_stop_at_last_layers"], options["sd_vae"]) == ("sub/other.ckpt", 2, "None")
    assert own.draw()[2].request.checkpoint == "sub/other.ckpt"
    own.post("options", {"sd_model_checkpoint": f"tiny.safetensors [{'ab' * 5}]"})
    assert own.draw()[1]["sd_model_name"] == "tiny"


@pytest.mark.parametrize(
    "changes",
    [
        {"sd_model_checkpoint": "nowhere"},
        {"sd_vae": "nowhere"},
        {"log_level": "DEBUG"},
        {"CLIP_stop_at_last_layers": 99},
        {"samples_format": "exe"},
        {"jpeg_quality": None, "save_to_dirs": [1]},
    ],
)
def test_one_wrong_option_and_nothing_is_set(own: Front, changes: dict[str, Any]):
    before = own.context.settings.as_options()
    problem = own.post("options", {"eta_noise_seed_delta": 31337, **changes}, 422)
    assert problem["detail"] and problem["error"] in ("InvalidRequest", "ModelNotFound")
    assert own.context.settings.as_options() == before


def test_the_command_line_without_its_secrets(tmp_path: Path):
    flags = Flags(gradio_auth=(("ann", "canary-1"),), api_auth=(("bob", "canary-2"),), listen=True, ckpt_dirs=(Path("/models"),))
    with front(tmp_path, flags=flags) as made:
        shown = made.get("cmd-flags")
        assert (
            shown["listen"] is True and shown["ckpt_dirs"] == ["/models"] and shown["gradio_auth"] == "***" and shown["tls_keyfile"] is None
        )
        assert shown["data_dir"] == str(tmp_path) and shown["embeddings_dir"] == str(tmp_path / "embeddings")
        report = made.client.get("/internal/sysinfo").text
        assert "canary" not in json.dumps(shown) + report and "Packages" in report


def test_png_info(shared: Front):
    drawn = shared.draw()[0]["images"][0]
    found = shared.post("png-info", {"image": "data:image/png;base64," + drawn})
    assert found["info"].startswith("draw\nSteps: 2") and found["items"] == {"parameters": found["info"]}
    assert shared.post("png-info", {"image": picture()}) == {"info": "", "items": {}, "parameters": {}}
    assert shared.post("png-info", {"image": ""}, 404)["detail"] == "Image not found"
    assert shared.post("png-info", {"image": "!"}, 422)["detail"] == "Invalid encoded image"
    assert shared.post("png-info", {"image": "AAAA"}, 422)["error"] == "ImageUnreadable"
    assert shared.post("png-info", {}, 422)["detail"][0]["loc"] == ["body", "image"]


def test_memory(shared: Front):
    memory = shared.get("memory")
    assert set(memory["ram"]) == {"free", "used", "total"} and memory["ram"]["used"] > 1_000_000 and "error" in memory["cuda"]


def test_unload_and_reload(shared: Front):
    def unloads() -> int:
        return int(shared.context.queue.engine.text.rpartition(" ")[2])

    shared.draw()
    before = unloads()
    assert shared.post("unload-checkpoint") == {}
    wait_for(lambda: unloads() == before + 1, 30, "the engine to unload")
    assert shared.post("reload-checkpoint") == {}
    assert shared.draw()[0]["images"]


@pytest.mark.parametrize("path", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"])
def test_what_this_program_lacks_says_so(shared: Front, path: str):
    problem = shared.post(path, {"image": picture()}, 501)
    assert set(problem) == {"error", "detail", "body", "errors"} and problem["detail"].endswith(".")


def test_interrogate(shared: Front):
    assert "captioning" in shared.post("interrogate", {"image": picture(), "model": "clip"}, 501)["detail"]
    assert shared.post("interrogate", {"image": picture(), "model": "oracle"}, 404)["detail"] == "Model not found"
    assert shared.post("interrogate", {"image": ""}, 404)["detail"] == "Image not found"


def test_stopping_the_server_is_the_command_lines_to_allow(shared: Front, tmp_path: Path):
    for path in ("server-stop", "server-kill", "server-restart"):
        shared.post(path, status=404)
    with front(tmp_path, flags=Flags(api_server_stop=True)) as made:
        assert made.client.post("/sdapi/v1/server-stop").status_code == 200 and made.stopped == ["stop"]
        assert made.post("server-restart", status=501)["detail"]


def test_probes_for_features_that_are_not_here(shared: Front):
    for path in ("/controlnet/version", "/sdapi/v1/nothing", "/system_stats", "/adetailer/v1/version"):
        assert shared.client.get(path).status_code == 404
    assert shared.client.get("/sdapi/v1/txt2img").status_code == 405


def test_the_schema_and_its_page(shared: Front):
    schema = shared.client.get("/openapi.json").json()
    assert "/sdapi/v1/txt2img" in schema["paths"] and "Txt2ImgBody" in schema["components"]["schemas"]
    steps = schema["components"]["schemas"]["Txt2ImgBody"]["properties"]["steps"]
    assert steps["default"] == 50 and {"type": "null"} in steps["anyOf"]
    page = shared.client.get("/docs").text
    assert all(path in page for path in schema["paths"]) and 'id="Txt2ImgBody"' in page and "http" not in page.split("<body>")[1]


def test_answers_say_how_long_they_took(shared: Front):
    reply = shared.client.get("/sdapi/v1/samplers")
    assert float(reply.headers["X-Process-Time"]) < 60
    assert "X-Process-Time" in shared.client.post("/sdapi/v1/txt2img", json={"steps": 0}).headers
