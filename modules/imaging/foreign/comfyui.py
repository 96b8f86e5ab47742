"""ComfyUI keeps the graph of nodes that made the picture. Which sampler, texts and files led to it?

The graph is {id: {"class_type": name, "inputs": {name: value, or [id of a node, number of its output]}}}. Nodes of extensions are read by
the names of their inputs, which they mostly share with the built-in ones. The graph may be damaged, cyclic or hostile: every walk visits
a node once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from modules.imaging.foreign.recipe import Recipe, inner, joined, lora_tag, pair, real, stem, text_of, whole

Node = Mapping[str, Any]
"""The inputs of a node."""

_SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "heunpp2": "HeunPP2",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddpm": "DDPM",
    "lcm": "LCM",
    "ipndm": "IPNDM",
    "ipndm_v": "IPNDM_V",
    "deis": "DEIS",
    # its "ddim" is Euler's rule over the schedule that is set
    "ddim": "Euler",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
}

_SCHEDULES: Mapping[str, str] = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
}

_TEXTS = ("text", "text_g", "text_l", "string", "value", "prompt", "positive", "text_positive")
_MODELS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")
_LATENTS = ("latent_image", "samples", "latent", "latents", "optional_latent")
_FACTOR = re.compile(r"(?<![a-z0-9])(?:(\d{1,2})x|x(\d{1,2})(?!\d))", re.IGNORECASE)
"""How an upscaler model's name says how much larger it makes a picture: "4x-…", "…_x4plus"."""
_LINKS = 10_000
"""Nodes of one walk: no real graph has that many."""
_SOME = 200
"""Samplers, and conditionings of one prompt, that are looked at."""


def comfyui_recipe(graph: Mapping[str, Any]) -> Recipe | None:
    """What the graph says; None if it has no sampler that says how many steps it makes."""
    nodes = {key: inner(node, "inputs") for key, node in graph.items() if isinstance(node, dict)}
    samplers = [node for node in nodes.values() if _is_sampler(nodes, node)][:_SOME]
    first = next((node for node in samplers if not _earlier(nodes, node, samplers)), None)
    if first is None:
        return None
    second = next((node for node in samplers if any(each is first for each in _earlier(nodes, node, samplers))), None)
    start = _first(nodes, first, _LATENTS, lambda node: pair(node.get("width"), node.get("height")))
    strength = _setting(nodes, first, "denoise")
    from_noise = start is not None and strength in (None, 1.0)
    hires = _second_pass(nodes, first, second) if second is not None and from_noise else ()
    return Recipe(
        program="ComfyUI",
        prompt=joined(_prompt(nodes, first.get("positive", _guider(nodes, first).get("positive"))), *_loras(nodes, first)),
        negative=_prompt(nodes, first.get("negative", _guider(nodes, first).get("negative"))),
        steps=whole(_value(nodes, first, "steps")),
        sampler=_sampler(nodes, first),
        schedule=_schedule(nodes, first),
        cfg=_setting(nodes, first, "cfg"),
        seed=_seed(nodes, first),
        size=start,
        model=_model(nodes, first),
        vae=next((stem(name) for node in nodes.values() if (name := text_of(node.get("vae_name")))), None),
        denoising=_setting(nodes, second, "denoise") if second is not None and hires else None if from_noise else strength,
        clip_skip=_clip_skip(nodes, first),
        noise="CPU",
        more=hires,
    )


def _is_sampler(nodes: Mapping[str, Node], node: Node) -> bool:
    guided = "positive" in node or "positive" in _guider(nodes, node)
    return guided and any(name in node for name in _LATENTS) and whole(_value(nodes, node, "steps")) is not None


def _guider(nodes: Mapping[str, Node], node: Node) -> Node:
    """SamplerCustomAdvanced has its texts and its scale in a node of their own."""
    return nodes.get(_target(node.get("guider")), {})


def _target(value: object) -> str:
    """The id of the node that an input is linked to; empty for a plain value."""
    if not isinstance(value, list):
        return ""
    link = cast("list[object]", value)
    return str(link[0]) if len(link) == 2 and isinstance(link[0], (str, int)) else ""


def _walk(nodes: Mapping[str, Node], start: Node, names: Sequence[str] | None = None) -> Iterator[Node]:
    """`start`, then what its inputs (of these names, or all) are linked to, nearest first, each node once."""
    seen: set[int] = set()
    waiting = [start]
    for node in waiting:
        if id(node) in seen or len(seen) > _LINKS:
            continue
        seen.add(id(node))
        yield node
        links = (node.get(name) for name in names) if names is not None else iter(node.values())
        waiting += [nodes[target] for link in links if (target := _target(link)) in nodes]


def _first(nodes: Mapping[str, Node], start: Node, names: Sequence[str], found: Any) -> Any:
    return next((value for node in _walk(nodes, start, names) if (value := found(node)) is not None), None)


def _earlier(nodes: Mapping[str, Node], node: Node, samplers: Sequence[Node]) -> list[Node]:
    """The samplers whose picture or latent this one goes on from."""
    walked = list(_walk(nodes, node, (*_LATENTS, "pixels", "image", "upscale_image")))[1:]
    known = set(map(id, samplers))
    return [each for each in walked if id(each) in known]


def _value(nodes: Mapping[str, Node], node: Node, name: str) -> object:
    """An input's value: its own, of the node of numbers that it is linked to, or of a scheduler's or noise's node beside it."""
    near = [node, *(nodes[target] for value in node.values() if (target := _target(value)) in nodes)]
    for each in near[:1] if name in node else near:
        if name in each:
            value = each[name]
            linked = nodes.get(_target(value), {})
            return next((linked[key] for key in (name, "value", "int", "float", "seed") if key in linked), None) if linked else value
    return None


def _setting(nodes: Mapping[str, Node], node: Node, name: str) -> float | None:
    return real(_value(nodes, node, name))


def _seed(nodes: Mapping[str, Node], node: Node) -> int | None:
    for name in ("seed", "noise_seed"):
        found = whole(_value(nodes, node, name))
        if found is not None:
            return found
    return None


def _sampler(nodes: Mapping[str, Node], node: Node) -> str | None:
    name = text_of(_value(nodes, node, "sampler_name"))
    bare = name.removesuffix("_gpu").removesuffix("_cfg_pp")
    return _SAMPLERS.get(bare, name) if name == bare or name.endswith("_gpu") else name or None


def _schedule(nodes: Mapping[str, Node], node: Node) -> str | None:
    name = text_of(_value(nodes, node, "scheduler"))
    return _SCHEDULES.get(name, name) or None


def _prompt(nodes: Mapping[str, Node], link: object) -> str:
    """The text behind a conditioning: combined ones are joined by AND, concatenated ones by BREAK, as they are drawn."""
    texts: list[str] = []
    seen: set[str] = set()
    waiting = [(_target(link), "")]
    while waiting and len(seen) < _SOME:
        target, word = waiting.pop()
        node = nodes.get(target)
        if node is None or target in seen:
            continue
        seen.add(target)
        found = _text(nodes, node)
        if found is not None:
            texts += [word, found] if texts and word else [found]
            continue
        further = [
            (node.get("conditioning_2"), "AND"),
            (node.get("conditioning_from"), "BREAK"),
            *((node.get(name), word) for name in ("conditioning_to", "conditioning_1", "conditioning", "positive", "cond")),
        ]
        waiting += [(to, joint) for value, joint in further if (to := _target(value))]
    return " ".join(texts)


def _text(nodes: Mapping[str, Node], node: Node) -> str | None:
    """The text that a node encodes; None if it encodes none. A text may come from nodes of its own."""
    if "clip" not in node and not any(isinstance(node.get(name), str) for name in _TEXTS):
        return None
    for name in _TEXTS:
        value = node.get(name)
        if isinstance(value, str):
            return value
        if _target(value) in nodes and "clip" in node:
            return next((each[key] for each in _walk(nodes, nodes[_target(value)]) for key in _TEXTS if isinstance(each.get(key), str)), "")
    return None


def _loras(nodes: Mapping[str, Node], first: Node) -> list[str]:
    guided = _guider(nodes, first)
    start = first if "model" in first else guided
    tags = [
        lora_tag(each.get("lora_name"), each.get("strength_model"), each.get("strength_clip")) for each in _walk(nodes, start, ("model",))
    ]
    return [tag for tag in reversed(tags) if tag]


def _model(nodes: Mapping[str, Node], first: Node) -> str | None:
    def named(node: Node) -> str | None:
        return next((stem(text_of(node[key])) for key in _MODELS if text_of(node.get(key))), None)

    return _first(nodes, first if "model" in first else _guider(nodes, first), ("model", "ckpt", "pipe", "model1"), named)


def _clip_skip(nodes: Mapping[str, Node], first: Node) -> int | None:
    """A1111 counts layers from the end, from 1; ComfyUI writes the same as -1, -2, …."""
    link = first.get("positive", _guider(nodes, first).get("positive"))
    text = nodes.get(_target(link), {})
    layer = _first(nodes, text, ("clip", "conditioning", "positive"), lambda node: whole(node.get("stop_at_clip_layer")))
    return -layer if layer is not None and layer < 0 else None


def _second_pass(nodes: Mapping[str, Node], first: Node, second: Node) -> tuple[tuple[str, object], ...]:
    """A second sampler after an enlargement is hires fix; the fields of what it does otherwise than the first."""
    between = list(_walk(nodes, second, (*_LATENTS, "pixels", "image")))[1:]
    scale = next((found for node in between if (found := real(node.get("scale_by"))) is not None), None)
    resizers = [node for node in between if "upscale_method" in node]
    sizes = (pair(node.get("width"), node.get("height")) for node in resizers)
    size = next((each for each in sizes if each is not None), None)
    loaders = (nodes.get(_target(node.get("upscale_model")), {}) for node in between)
    enlarger = next((stem(name) for loader in loaders if (name := text_of(loader.get("model_name")))), None)
    if scale is None and size is None and enlarger is None:
        return ()
    if enlarger is not None and (scale is not None or not resizers):
        factor = _factor(enlarger)
        scale = None if factor is None else factor * (1.0 if scale is None else scale)
    steps, sampler, schedule = whole(_value(nodes, second, "steps")), _sampler(nodes, second), _schedule(nodes, second)
    method = next((text_of(node.get("upscale_method")) for node in between if node.get("upscale_method")), "")
    in_latents = any("samples" in node and node.get("upscale_method") for node in between)
    return (
        ("Hires sampler", sampler if sampler != _sampler(nodes, first) else None),
        ("Hires schedule type", schedule if schedule != _schedule(nodes, first) else None),
        ("Hires upscale", None if scale is None else f"{scale:g}"),
        ("Hires resize", "{}x{}".format(*size) if size and scale is None else None),
        ("Hires steps", steps if steps != whole(_value(nodes, first, "steps")) else None),
        ("Hires upscaler", enlarger or _upscaler(method, in_latents)),
    )


def _factor(model: str) -> int | None:
    """How many times larger an upscaler model makes a picture, by its name; None where that does not say it."""
    found = _FACTOR.search(model)
    factor = int(found[1] or found[2]) if found else 0
    return factor if 1 <= factor <= 16 else None


def _upscaler(method: str, in_latents: bool) -> str:
    if not in_latents:
        return "Lanczos"
    names = {"nearest-exact": "Latent (nearest-exact)", "bilinear": "Latent", "bicubic": "Latent (bicubic)"}
    return names.get(method, f"Latent ({method})" if method else "Latent")
