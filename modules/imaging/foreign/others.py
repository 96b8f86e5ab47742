"""InvokeAI, NovelAI and Fooocus keep one JSON object each. What do its fields mean in A1111's words?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from modules.imaging.foreign.recipe import Recipe, inner, items, joined, json_object, lora_tag, pair, real, stem, text_of, whole

_INVOKE_SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_a": "Euler a",
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "heun": "Heun",
    "k_heun": "Heun",
    "lms": "LMS",
    "k_lms": "LMS",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "plms": "PLMS",
    "pndm": "PLMS",
    "deis": "DEIS",
    "unipc": "UniPC",
    "lcm": "LCM",
}

_NOVELAI_SAMPLERS: Mapping[str, str] = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpm_fast": "DPM fast",
    "k_dpm_adaptive": "DPM adaptive",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
    "nai_smea": "Euler a",
    "nai_smea_dyn": "Euler a",
}

_SCHEDULES: Mapping[str, str] = {
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "native": "Uniform",
}
_NOVELAI_ENSD = 31337
_BRACES: Mapping[str, str] = {"{": ":1.05)", "[": ":0.9524)"}


def invokeai_recipe(values: Mapping[str, Any]) -> Recipe | None:
    """The chunk `invokeai_metadata` (versions 3 and later)."""
    prompt, steps = text_of(values.get("positive_prompt")), whole(values.get("steps"))
    if steps is None:
        return None
    scheduler = text_of(values.get("scheduler"))
    model = inner(values, "model")
    loras = [
        lora_tag(inner(each, "model").get("name") or inner(each, "lora").get("model_name"), each.get("weight"))
        for each in items(values, "loras")
        if isinstance(each, dict)
    ]
    skip, version = whole(values.get("clip_skip")), text_of(values.get("app_version"))
    return Recipe(
        program=f"InvokeAI {version}".strip(),
        prompt=joined(_compel(joined(prompt, text_of(values.get("positive_style_prompt")))), *loras),
        negative=_compel(joined(text_of(values.get("negative_prompt")), text_of(values.get("negative_style_prompt")))),
        steps=steps,
        sampler=_INVOKE_SAMPLERS.get(scheduler.removesuffix("_k"), scheduler) or None,
        schedule=_invoke_schedule(scheduler),
        cfg=real(values.get("cfg_scale")),
        seed=whole(values.get("seed")),
        size=pair(values.get("width"), values.get("height")),
        model=stem(text_of(model.get("name")) or text_of(model.get("model_name"))) or None,
        vae=stem(text_of(inner(values, "vae").get("name"))) or None,
        denoising=real(values.get("strength")) if values.get("init_image") else None,
        # it counts the layers that are left out, from 0
        clip_skip=skip + 1 if skip else None,
        noise="CPU" if values.get("rand_device") in ("cpu", None) else None,
    )


def _invoke_schedule(scheduler: str) -> str | None:
    """What its name says. Without "_k" it is the model's own, where A1111 would choose Karras for some samplers."""
    if scheduler.endswith("_k"):
        return "Karras"
    return "Uniform" if scheduler.startswith(("dpmpp_", "kdpm_", "k_dpm_")) else None


def old_invokeai_recipe(values: Mapping[str, Any]) -> Recipe | None:
    """The chunk `sd-metadata` (version 2)."""
    image = inner(values, "image")
    steps = whole(image.get("steps"))
    if steps is None:
        return None
    prompts: Any = image.get("prompt")
    texts = cast("list[Any]", prompts) if isinstance(prompts, list) else [{"prompt": prompts}]
    prompt = joined(*(text_of(cast("dict[str, Any]", each).get("prompt")) for each in texts if isinstance(each, dict)))
    negative = " ".join(match.group(1) for match in re.finditer(r"\[([^\[\]]*)\]", prompt))
    sampler = text_of(image.get("sampler"))
    return Recipe(
        program=f"InvokeAI {text_of(values.get('app_version'))}".strip(),
        prompt=_compel(re.sub(r"\[[^\[\]]*\]", "", prompt).strip()),
        negative=_compel(negative),
        steps=steps,
        sampler=_INVOKE_SAMPLERS.get(sampler, sampler) or None,
        cfg=real(image.get("cfg_scale")),
        seed=whole(image.get("seed")),
        size=pair(image.get("width"), image.get("height")),
        model=stem(text_of(values.get("model_weights"))) or None,
        denoising=real(image.get("strength")) if image.get("type") == "img2img" else None,
    )


def novelai_recipe(comment: Mapping[str, Any], description: str, source: str) -> Recipe | None:
    """The chunk `Comment`, with `Description` and `Source` beside it."""
    steps = whole(comment.get("steps"))
    if steps is None:
        return None
    old = "XL" not in source and "V4" not in source
    sampler = text_of(comment.get("sampler"))
    schedule = text_of(comment.get("noise_schedule"))
    return Recipe(
        program="NovelAI",
        prompt=_braced(text_of(comment.get("prompt")) or description),
        negative=_braced(text_of(comment.get("uc"))),
        steps=steps,
        sampler=_NOVELAI_SAMPLERS.get(sampler, sampler) or None,
        schedule=_SCHEDULES.get(schedule),
        cfg=real(comment.get("scale")),
        seed=whole(comment.get("seed")),
        size=pair(comment.get("width"), comment.get("height")),
        denoising=real(comment.get("strength")) if comment.get("request_type") == "Img2ImgRequest" else None,
        clip_skip=2 if old else None,
        ensd=_NOVELAI_ENSD if old else None,
    )


def fooocus_recipe(values: Mapping[str, Any]) -> Recipe | None:
    """The chunk `parameters` where Fooocus wrote JSON into it."""
    steps = whole(values.get("steps"))
    if steps is None:
        return None
    size = re.fullmatch(r"\((\d{1,5}), ?(\d{1,5})\)", text_of(values.get("resolution")))
    sampler, scheduler = text_of(values.get("sampler")), text_of(values.get("scheduler"))
    loras: list[str] = []
    for each in items(values, "loras"):
        row = cast("list[Any]", each) if isinstance(each, list) else []
        loras.append(lora_tag(row[0], row[1]) if len(row) >= 2 else "")
    for key in values:
        name, _, weight = text_of(values[key]).rpartition(" : ") if key.startswith("lora_combined_") else ("", "", "")
        loras.append(lora_tag(name, weight))
    refiner = stem(text_of(values.get("refiner_model")))
    vae = text_of(values.get("vae"))
    return Recipe(
        program=text_of(values.get("version")) or "Fooocus",
        prompt=joined(_drawn(values, "full_prompt", "prompt"), *dict.fromkeys(tag for tag in loras if tag)),
        negative=_drawn(values, "full_negative_prompt", "negative_prompt"),
        steps=steps,
        sampler=_comfy_name(sampler),
        schedule=scheduler or None,
        cfg=real(values.get("guidance_scale")),
        seed=whole(values.get("seed")),
        size=pair(size.group(1), size.group(2)) if size else None,
        model=stem(text_of(values.get("base_model"))) or None,
        model_hash=text_of(values.get("base_model_hash")) or None,
        vae=stem(vae) if vae and not vae.startswith("Default") else None,
        clip_skip=whole(values.get("clip_skip")),
        noise="CPU",
        more=(
            ("Refiner", refiner if refiner and refiner != "None" else None),
            ("Refiner switch at", values.get("refiner_switch") if refiner and refiner != "None" else None),
            ("Sharpness", values.get("sharpness")),
            ("ADM Guidance", values.get("adm_guidance")),
        ),
    )


def _comfy_name(sampler: str) -> str | None:
    """Fooocus names its samplers as ComfyUI does, and both as this program's ids."""
    return sampler.removesuffix("_gpu") or None


def _drawn(values: Mapping[str, Any], full: str, plain: str) -> str:
    """The text with its styles applied, where it is kept, else as typed."""
    texts = [text_of(each) for each in items(values, full)]
    return ", ".join(text for text in texts if text) or text_of(values.get(plain))


def _compel(text: str) -> str:
    """InvokeAI's weights in A1111's grammar: "(two words)1.2", "word++", "(words)-"."""
    text = re.sub(r"\(([^()]{1,2000})\)(\d(?:\.\d{1,4})?)(?![\w.])", r"(\1:\2)", text)

    def signed(match: re.Match[str]) -> str:
        signs = match.group(3)
        weight = (1.1 if signs[0] == "+" else 0.9) ** min(len(signs), 10)
        return f"({match.group(1) or match.group(2)}:{weight:.4g})"

    return re.sub(r"(?:\(([^()]{1,2000})\)|(?<![\w(])(\w[\w'-]{0,60}?))(\++|-+)(?![\w+\-])", signed, text)


def _braced(text: str) -> str:
    """NovelAI's weights in A1111's grammar: {x} is x * 1.05, [x] is x / 1.05, round brackets are letters."""
    out: list[str] = []
    open_marks: list[str] = []
    for letter in text:
        if letter in "()":
            out.append(f"\\{letter}")
        elif letter in "{[":
            open_marks.append(letter)
            out.append("(")
        elif letter in "}]" and open_marks:
            out.append(_BRACES[open_marks.pop()])
        elif letter not in "}]":
            out.append(letter)
    return "".join((*out, *(_BRACES[mark] for mark in reversed(open_marks))))


def novelai_comment(text: str) -> dict[str, Any]:
    """The parameters in a `Comment`; where it was signed they are one level deeper."""
    found = json_object(text)
    return json_object(text_of(found.get("Comment"))) or found
