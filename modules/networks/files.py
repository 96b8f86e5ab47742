"""What does a network's file hold? Its tensors, sorted by module and algorithm, checked before anything is done with them.

Knows no model: whether there is such a module, and whether the shapes suit it, is `patches`' question.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.networks.algorithms import Algorithm, algorithm_for

BIASES = ("diff_b", "b_norm")
"""Parts that change a module's bias, whatever changes its weight."""

_CANONICAL = (
    "lora_mid", "alpha", "dora_scale", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w2",
    "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "oft_blocks", "oft_diag", "rescale", "diff", "w_norm", *BIASES,
)  # fmt: skip

_ADAPTER = r"(?:\.(?!weight$)\w+)?"
"""peft may put the adapter's name into the middle of a key."""

_ENDINGS = tuple(
    (re.compile(rf"(?P<module>.+)\.{ending}"), part)
    for ending, part in (
        (r"lora_up\.weight", "lora_up"),
        (r"lora_down\.weight", "lora_down"),
        (r"lora_mid\.weight", "lora_mid"),
        (rf"lora_B{_ADAPTER}\.weight", "lora_up"),
        (rf"lora_A{_ADAPTER}\.weight", "lora_down"),
        (r"lora(?:_linear_layer)?\.up\.weight", "lora_up"),
        (r"lora(?:_linear_layer)?\.down\.weight", "lora_down"),
        (r"lora_magnitude_vector(?:\.\w+)*", "dora_scale"),
    )
)

_PROCESSOR = re.compile(r"(?P<module>.+)\.processor\.(?P<layer>to_[qkv]|to_out)_lora\.(?P<side>up|down)\.weight")
"""How diffusers wrote LoRAs in its first year."""

_PEFT = "base_model.model."
"""How names begin in peft's own files, whose alphas are in a file of their own."""

_BUNDLED = re.compile(r"bundle_emb\.(?P<word>.+)\.(?:string_to_param\.\*|clip_l|clip_g)")
"""Textual inversions that trainers put into a LoRA's file."""


@dataclass(frozen=True, slots=True, eq=False)
class AddedModule:
    """What a file holds for one module: how its weight changes, if it does, and the change of its bias, if there is one."""

    name: str
    algorithm: Algorithm | None
    parts: Mapping[str, Tensor]
    alpha: float | None = None
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFile:
    """A file of the LoRA family. `strange` are keys that no algorithm here knows; `notes` say what else of it is not as it was meant."""

    modules: tuple[AddedModule, ...]
    strange: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for module in self.modules for tensor in module.parts.values())


def parse(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], adapter: str = "") -> NetworkFile:
    """Sort a file's tensors; `adapter` is the text of the `adapter_config.json` beside it, where there is one.

    Raises `ModelLoadError` with the reason where they are no network, or not numbers.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    strange: list[str] = []
    for key, tensor in tensors.items():
        split = split_key(key)
        if split is None:
            strange.append(key)
        else:
            _check(key, tensor)
            # peft's lengths are always the outputs', though a convolution's lie along its second axis: flat, they can't be mistaken
            grouped.setdefault(split[0], {})[split[1]] = tensor.flatten() if "lora_magnitude_vector" in key else tensor
    header = _config(metadata.get("lora_adapter_metadata", ""), "the adapter's configuration in its header is damaged")
    is_pefts = any(name.startswith(_PEFT) for name in grouped)
    beside = _config(adapter if is_pefts else "", "the file adapter_config.json beside it is damaged")
    modules: list[AddedModule] = []
    for name, parts in grouped.items():
        alpha = _alpha_in_header(name, parts, header)
        module = _module(name, parts, _alpha_beside(name, parts, beside) if alpha is None else alpha)
        if module is None:
            strange.append(f"{name} ({', '.join(sorted(parts))})")
        else:
            modules.append(module)
    if not modules:
        example = next(iter(tensors), None)
        such = "" if example is None else f", such as {example[:80]!r}"
        raise ModelLoadError(f"it holds no LoRA or anything of that family ({len(tensors)} tensors{such})")
    return NetworkFile(tuple(modules), tuple(strange), (*_without_alpha(modules), *_bundled(strange)), metadata)


def split_key(key: str) -> tuple[str, str] | None:
    """(module, canonical part) of a tensor's name in a file; None for one that is no part of a network."""
    old = _PROCESSOR.fullmatch(key)
    if old:
        layer = "to_out.0" if old["layer"] == "to_out" else old["layer"]
        return f"{old['module']}.{layer}", f"lora_{old['side']}"
    for ending, part in _ENDINGS:
        match = ending.fullmatch(key)
        if match:
            return match["module"], part
    module, dot, part = key.rpartition(".")
    return (module, part) if dot and part in _CANONICAL else None


def _module(name: str, parts: Mapping[str, Tensor], alpha: float | None) -> AddedModule | None:
    weights = {part: tensor for part, tensor in parts.items() if part != "alpha" and part not in BIASES}
    algorithm = algorithm_for(frozenset(weights))
    bias = next((parts[part] for part in BIASES if part in parts), None)
    if (weights and algorithm is None) or (not weights and bias is None):
        return None
    return AddedModule(name, algorithm, weights, float(parts["alpha"].flatten()[0]) if "alpha" in parts else alpha, bias)


def _check(key: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point() and key.rpartition(".")[2] != "alpha":
        raise ModelLoadError(f"its tensor {key!r} is {str(tensor.dtype).removeprefix('torch.')}, which is not supported")
    if tensor.numel() == 0:
        raise ModelLoadError(f"its tensor {key!r} is empty")
    if not bool(torch.isfinite(tensor.float()).all()):
        raise ModelLoadError(f"it holds numbers that are not finite, in {key!r}")


def _config(text: str, damaged: str) -> Mapping[str, Any]:
    """An adapter's configuration: peft and diffusers have the alphas there, not beside the tensors. Raises `ModelLoadError`."""
    try:
        config = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(damaged) from error
    return cast("Mapping[str, Any]", config) if isinstance(config, dict) else {}


def _alpha_in_header(name: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]) -> float | None:
    network = next((f"{each}." for each in ("unet", "text_encoder", "text_encoder_2") if name.startswith(f"{each}.")), None)
    return None if network is None else _alpha_of(name, parts, config, network)


def _alpha_of(name: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], network: str) -> float | None:
    """A module's alpha by a configuration: one number for a network, with exceptions by the end of a module's name."""
    exceptions: Any = config.get(f"{network}alpha_pattern") or {}
    special = next((value for end, value in exceptions.items() if name.endswith(end)), None) if isinstance(exceptions, dict) else None
    value = config.get(f"{network}lora_alpha") if special is None else special
    if not isinstance(value, (int, float)):
        return None
    # rank-stabilised LoRA (Kalajdzievski 2023, arXiv:2312.03732) divides alpha by the root of the rank, where all else here divides by it
    stabilised = config.get(f"{network}use_rslora") and "lora_down" in parts
    return float(value) * math.sqrt(parts["lora_down"].shape[0]) if stabilised else float(value)


def _alpha_beside(name: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]) -> float | None:
    """A module's alpha by peft's own file; None where that is about another network, as its ranks are others."""
    patterns: Any = config.get("rank_pattern") or {}
    ranks: list[Any] = [config.get("r"), *(cast("Mapping[str, Any]", patterns).values() if isinstance(patterns, dict) else ())]
    if not name.startswith(_PEFT) or "lora_down" not in parts or parts["lora_down"].shape[0] not in ranks:
        return None
    return _alpha_of(name, parts, config, network="")


def _without_alpha(modules: list[AddedModule]) -> list[str]:
    """Says so where peft's file with the alphas would be needed."""
    bare = any(module.name.startswith(_PEFT) and module.alpha is None and "lora_down" in module.parts for module in modules)
    return ["its alpha is not known, so it counts as its rank. Put the adapter_config.json that belongs to it beside it."] if bare else []


def _bundled(strange: list[str]) -> list[str]:
    words = dict.fromkeys(match["word"] for key in strange if (match := _BUNDLED.fullmatch(key)))
    named = ", ".join(repr(word[:40]) for word in list(words)[:5]) + (" and others" if len(words) > 5 else "")
    return [f"the embeddings in its file are not used: {named}."] if words else []
