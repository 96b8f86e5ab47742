"""Pictures of ComfyUI, InvokeAI, NovelAI and Fooocus are read as the infotexts that they mean; hostile ones are read as nothing."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from modules.imaging.files import read_infotext
from modules.imaging.foreign.read import foreign_infotext
from modules.imaging.infotext import parse_infotext

LOADER = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15/dream.safetensors"}}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampler(**inputs: Any) -> dict[str, Any]:
    plain = {"seed": 42, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    return node("KSampler", **{**plain, **links, **inputs})


def graph(**nodes: dict[str, Any]) -> dict[str, Any]:
    plain = {
        "3": sampler(),
        "4": LOADER,
        "5": node("EmptyLatentImage", width=640, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a red fox, (snow:1.2)", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    }
    return {**plain, **{key.removeprefix("n"): value for key, value in nodes.items()}}


def comfy(**nodes: dict[str, Any]) -> dict[str, str]:
    found = foreign_infotext({"prompt": json.dumps(graph(**nodes)), "workflow": "{}"})
    assert found is not None
    return parse_infotext(found, defaults=False)


def test_comfyui_plain() -> None:
    assert comfy() == {
        "Prompt": "a red fox, (snow:1.2)",
        "Negative prompt": "blurry",
        "Steps": "25",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "6.5",
        "Seed": "42",
        "Size-1": "640",
        "Size-2": "768",
        "Model": "dream",
        "RNG": "CPU",
        "Version": "ComfyUI",
    }


def test_comfyui_networks_clip_skip_and_vae() -> None:
    found = comfy(
        n10=node("LoraLoader", lora_name="styles/ink.safetensors", strength_model=0.8, strength_clip=0.5, model=["4", 0], clip=["4", 1]),
        n11=node("LoraLoader", lora_name="late.safetensors", strength_model=1, strength_clip=1, model=["10", 0], clip=["10", 1]),
        n12=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["11", 1]),
        n3=sampler(model=["11", 0], sampler_name="dpmpp_2m_sde_gpu", scheduler="exponential"),
        n6=node("CLIPTextEncode", text="fox", clip=["12", 0]),
        n13=node("VAELoader", vae_name="kl.safetensors"),
    )
    assert found["Prompt"] == "fox <lora:ink:0.5:0.8> <lora:late:1>"
    assert (found["Clip skip"], found["VAE"], found["Sampler"], found["Schedule type"]) == ("2", "kl", "DPM++ 2M SDE", "Exponential")


def test_comfyui_texts_from_other_nodes() -> None:
    found = comfy(
        n3=sampler(positive=["20", 0], seed=["30", 0]),
        n20=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["21", 0]),
        n21=node("CLIPTextEncode", text=["22", 0], clip=["4", 1]),
        n22=node("PrimitiveString", value="a hill"),
        n30=node("PrimitiveInt", value=77),
    )
    assert found["Prompt"] == "a red fox, (snow:1.2) AND a hill"
    assert found["Seed"] == "77"


def test_comfyui_second_pass_is_hires_fix() -> None:
    found = comfy(
        n40=node("LatentUpscaleBy", samples=["3", 0], upscale_method="bicubic", scale_by=1.5),
        n41=sampler(latent_image=["40", 0], denoise=0.55, steps=12),
    )
    assert {key: found[key] for key in found if key.startswith(("Hires", "Denoising"))} == {
        "Denoising strength": "0.55",
        "Hires upscale": "1.5",
        "Hires steps": "12",
        "Hires upscaler": "Latent (bicubic)",
    }


def hires_fields(found: dict[str, Any]) -> dict[str, str]:
    return {key: found[key] for key in found if key.startswith(("Hires", "Denoising"))}


def through_a_model(name: str, *resizers: dict[str, Any]) -> dict[str, str]:
    """What is read of a second pass behind an upscaler model, with these nodes after it, each taking the picture of the one before."""
    nodes = {
        "n60": node("UpscaleModelLoader", model_name=name),
        "n61": node("ImageUpscaleWithModel", upscale_model=["60", 0], image=["8", 0]),
    }
    last = 61
    for resizer in resizers:
        nodes[f"n{last + 1}"] = node("ImageScale", image=[str(last), 0], upscale_method="lanczos", **resizer)
        last += 1
    nodes["n80"] = node("VAEEncode", pixels=[str(last), 0], vae=["4", 2])
    nodes["n81"] = sampler(latent_image=["80", 0], denoise=0.4)
    return hires_fields(comfy(**nodes))


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("sub/4x-UltraSharp.pth", 2.0),
        ("RealESRGAN_x4plus.safetensors", 2.0),
        ("2x_Any.pth", 1.0),
        ("OmniSR_X2_DIV2K.safetensors", 1.0),
        ("ESRGAN_8x.pth", 4.0),
        ("BSRGAN.pth", None),
        ("max512.pth", None),
    ],
)
def test_comfyui_second_pass_through_an_upscaler_model(name: str, factor: float | None) -> None:
    wanted = {"Denoising strength": "0.4", "Hires upscaler": name.rpartition("/")[2].rpartition(".")[0]}
    assert through_a_model(name, {"scale_by": 0.5}) == wanted | ({} if factor is None else {"Hires upscale": f"{factor:g}"})
    assert through_a_model(name) == wanted | ({} if factor is None else {"Hires upscale": f"{factor * 2:g}"})
    sized = through_a_model(name, {"width": 1280, "height": 1536})
    assert sized == wanted | {"Hires resize-1": "1280", "Hires resize-2": "1536"}
    assert through_a_model(name, {"megapixels": 1.5}) == wanted, "that many pixels are no factor"


def test_comfyui_a_second_pass_at_the_same_size_is_no_hires_fix() -> None:
    assert hires_fields(comfy(n41=sampler(latent_image=["3", 0], denoise=0.55, steps=12))) == {}


def test_comfyui_advanced_sampler() -> None:
    found = comfy(
        n3=node("SamplerCustomAdvanced", noise=["50", 0], guider=["51", 0], sampler=["52", 0], sigmas=["53", 0], latent_image=["5", 0]),
        n50=node("RandomNoise", noise_seed=5),
        n51=node("CFGGuider", cfg=3, model=["4", 0], positive=["6", 0], negative=["7", 0]),
        n52=node("KSamplerSelect", sampler_name="euler_ancestral"),
        n53=node("BasicScheduler", scheduler="simple", steps=9, denoise=1, model=["4", 0]),
    )
    wanted = {"Steps": "9", "Sampler": "Euler a", "Schedule type": "Simple", "CFG scale": "3", "Seed": "5", "Model": "dream"}
    assert {key: found.get(key) for key in wanted} == wanted
    assert found["Prompt"].startswith("a red fox") and found["Negative prompt"] == "blurry"


def test_invokeai() -> None:
    values = {
        "app_version": "5.6.0",
        "positive_prompt": "a fox++ in (deep snow)1.3",
        "negative_prompt": "blurry-",
        "width": 512,
        "height": 640,
        "seed": 9,
        "rand_device": "cpu",
        "cfg_scale": 7.5,
        "steps": 30,
        "scheduler": "dpmpp_2m_k",
        "clip_skip": 1,
        "model": {"name": "dream", "base": "sd-1", "type": "main", "hash": "blake3:00"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
    }
    found = parse_infotext(foreign_infotext({"invokeai_metadata": json.dumps(values)}) or "", defaults=False)
    assert found["Prompt"] == "a (fox:1.21) in (deep snow:1.3) <lora:ink:0.75>"
    assert found["Negative prompt"] == "(blurry:0.9)"
    wanted = {
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "Clip skip": "2",
        "Model": "dream",
        "RNG": "CPU",
        "Version": "InvokeAI 5.6.0",
    }
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("scheduler", "name", "schedule"),
    [
        ("dpmpp_2m", "DPM++ 2M", "Uniform"),
        ("dpmpp_sde", "DPM++ SDE", "Uniform"),
        ("kdpm_2_a", "DPM2 a", "Uniform"),
        ("kdpm_2_a_k", "DPM2 a", "Karras"),
        ("euler_a", "Euler a", None),
        ("unipc", "UniPC", None),
    ],
)
def test_invokeais_schedules(scheduler: str, name: str, schedule: str | None) -> None:
    values = {"positive_prompt": "a fox", "steps": 30, "scheduler": scheduler}
    found = parse_infotext(foreign_infotext({"invokeai_metadata": json.dumps(values)}) or "", defaults=False)
    assert (found["Sampler"], found.get("Schedule type")) == (name, schedule)


def test_old_invokeai() -> None:
    image = {
        "prompt": [{"prompt": "a fox [blurry]", "weight": 1}],
        "steps": 20,
        "cfg_scale": 7,
        "seed": 3,
        "sampler": "k_euler_a",
        "width": 512,
        "height": 512,
    }
    found = parse_infotext(foreign_infotext({"sd-metadata": json.dumps({"image": image, "model_weights": "dream"})}) or "", defaults=False)
    assert (found["Prompt"], found["Negative prompt"], found["Sampler"], found["Model"]) == ("a fox", "blurry", "Euler a", "dream")


def test_novelai() -> None:
    comment = {"steps": 28, "sampler": "k_euler_ancestral", "seed": 11, "scale": 11.0, "uc": "lowres (bad)", "width": 512, "height": 768}
    chunks = {
        "Software": "NovelAI",
        "Description": "{{masterpiece}}, [fox], :(",
        "Source": "Stable Diffusion 1D44365E",
        "Comment": json.dumps(comment),
    }
    found = parse_infotext(foreign_infotext(chunks) or "", defaults=False)
    assert found["Prompt"] == r"((masterpiece:1.05):1.05), (fox:0.9524), :\("
    assert found["Negative prompt"] == r"lowres \(bad\)"
    assert (found["Clip skip"], found["ENSD"], found["Sampler"]) == ("2", "31337", "Euler a")
    newer = parse_infotext(foreign_infotext({**chunks, "Source": "Stable Diffusion XL 7BCCAA2C"}) or "", defaults=False)
    assert "Clip skip" not in newer


def test_fooocus() -> None:
    values = {
        "prompt": "a fox",
        "full_prompt": ["cinematic still a fox", "emotional"],
        "negative_prompt": "",
        "full_negative_prompt": ["anime"],
        "steps": 30,
        "resolution": "(1152, 896)",
        "guidance_scale": 4,
        "sharpness": 2,
        "base_model": "juggernautXL_v8",
        "base_model_hash": "aeb7e9e689",
        "refiner_model": "None",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "seed": "123456789012345678",
        "loras": [["offset.safetensors", 0.1, "abc"]],
        "version": "Fooocus v2.4.3",
    }
    found = parse_infotext(foreign_infotext({"parameters": json.dumps(values)}) or "", defaults=False)
    assert found["Prompt"] == "cinematic still a fox, emotional <lora:offset:0.1>"
    wanted = {"Size-1": "1152", "Size-2": "896", "Seed": "123456789012345678", "Model hash": "aeb7e9e689", "Version": "Fooocus v2.4.3"}
    assert {key: found[key] for key in wanted} == wanted


def as_png(**chunks: str) -> io.BytesIO:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "PNG", pnginfo=info)
    return out


def test_they_are_found_in_files() -> None:
    assert "Sampler: DPM++ 2M" in read_infotext(as_png(prompt=json.dumps(graph())))
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(graph())}"
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "WEBP", exif=exif)
    assert "Sampler: DPM++ 2M" in read_infotext(out)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = json.dumps({"prompt": "a fox", "steps": 30, "sampler": "euler"})
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG", exif=exif)
    assert read_infotext(out).startswith("a fox\nSteps: 30, Sampler: euler")


def test_our_own_kind_of_text_goes_before_all_others() -> None:
    ours = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7"
    assert read_infotext(as_png(parameters=ours, prompt=json.dumps(graph()))) == ours
    wild = "{red|blue} fox\nSteps: 20, Sampler: Euler, CFG scale: 7"
    assert read_infotext(as_png(parameters=wild)) == wild


NAMES = ("prompt", "parameters", "invokeai_metadata", "sd-metadata", "Comment")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["3", "4", "5", "6"]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["steps", "positive", "inputs", "3", "loras", "model", "image"]), inside, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("name", NAMES)
@given(value=JSON)
def test_no_json_raises(name: str, value: object) -> None:
    foreign_infotext({name: json.dumps(value), "Software": "NovelAI" if name == "Comment" else ""})


@given(
    inputs=st.dictionaries(
        st.sampled_from([*sampler()["inputs"], "text", "clip", "guider", "samples"]), JSON | st.just(["3", 0]), max_size=8
    )
)
def test_no_graph_raises(inputs: dict[str, Any]) -> None:
    foreign_infotext({"prompt": json.dumps(graph(n3=node("X", **inputs), n6=node("Y", **inputs)))})
    foreign_infotext({"prompt": json.dumps(graph(n6=node("Y", **inputs)))})


def test_hostile_graphs_end() -> None:
    """A walk that visits nodes again and again would not come to its end here."""
    deep = "[" * 100_000 + "]" * 100_000
    knot = {str(i): node("KSampler", **{**sampler()["inputs"], "latent_image": [str((i * 7 + 1) % 5000), 0]}) for i in range(5000)}
    chain = {
        **graph(n3=sampler(positive=["100", 0])),
        **{str(i): node("C", conditioning_1=[str(i + 1), 0], conditioning_2=["100", 0]) for i in range(100, 5000)},
    }
    huge = '{"steps": ' + "9" * 100_000 + "}"
    for text in (f'{{"prompt": {deep}}}', json.dumps(knot), json.dumps(chain), huge, "{" * 1_000_000):
        for name in NAMES:
            foreign_infotext({name: text, "Software": "NovelAI" if name == "Comment" else ""})
