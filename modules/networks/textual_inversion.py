"""What does a textual inversion file hold? Vectors for one word, one set for each text encoder of the model it was trained on.

Textual inversion: Gal et al. 2022, arXiv:2208.01618. Files come from many programs; all of them are plain data here, already read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from modules.domain.errors import ModelLoadError
from modules.domain.networks import MAX_VECTORS

_SDXL_ROLES = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}

Vectors = Mapping[str, Tensor]
"""(n, width) float32 by text encoder: `clip_l` and `clip_g` in a file for SDXL, else only the empty name."""


def read_vectors(data: Any) -> Vectors:
    """The vectors in a file's data. Raises `ModelLoadError` with the reason."""
    if not isinstance(data, Mapping):
        raise ModelLoadError("it holds no named tensors")
    found = {name: _checked(tensor) for name, tensor in _tensors(cast("Mapping[Any, Any]", data)).items()}
    counts = {len(tensor) for tensor in found.values()}
    if len(counts) != 1:
        raise ModelLoadError("its text encoders have different numbers of vectors")
    if counts.pop() > MAX_VECTORS:
        raise ModelLoadError(f"it has more than the {MAX_VECTORS} vectors that a prompt's chunk has room for")
    return found


def data_in_picture(text: str) -> Any:
    """What a picture's text chunk holds: base64 of JSON, in which tensors are lists."""
    try:
        return json.loads(base64.b64decode(text, validate=False), object_hook=_tensor_from_json)
    except (ValueError, TypeError, RuntimeError, binascii.Error, RecursionError) as error:
        raise ModelLoadError("its embedded data is damaged") from error


def fit(vectors: Vectors, widths: Mapping[str, int]) -> Mapping[str, Tensor] | None:
    """The vectors by role, for text encoders of these widths by role; None where they are for other text encoders."""
    named = {role: vectors[name] for name, role in _SDXL_ROLES.items() if name in vectors}
    if set(widths) == {"text_encoder_2"} and len(named) == len(vectors):  # SDXL's refiner has only the second of SDXL's text encoders
        named = {role: tensor for role, tensor in named.items() if role in widths}
        return named if {role: tensor.shape[1] for role, tensor in named.items()} == dict(widths) else None
    if len(named) == len(vectors) and {role: tensor.shape[1] for role, tensor in named.items()} == dict(widths):
        return named
    by_width = {tensor.shape[1]: tensor for tensor in vectors.values()}
    if len(by_width) != len(vectors) or sorted(by_width) != sorted(widths.values()):
        return None
    return {role: by_width[width] for role, width in widths.items()}


def widths_of(vectors: Vectors) -> str:
    """The widths for people: "768", or "1280 and 768" for SDXL."""
    return " and ".join(str(width) for width in sorted({tensor.shape[1] for tensor in vectors.values()}, reverse=True))


def _tensors(data: Mapping[Any, Any]) -> dict[str, Any]:
    if "string_to_param" in data:
        inner = data["string_to_param"]
        # PyTorch's own ParameterDict in the first program's files, a plain mapping in all others
        parameters = dict(inner.items()) if isinstance(inner, nn.ParameterDict) else inner
        return {"": _only(cast("Mapping[Any, Any]", parameters) if isinstance(parameters, Mapping) else {})}
    if "clip_l" in data or "clip_g" in data:
        return {name: data[name] for name in ("clip_l", "clip_g") if name in data}
    if "emb_params" in data:
        return {"": data["emb_params"]}
    return {"": _only({key: value for key, value in data.items() if isinstance(value, Tensor)})}


def _only(parameters: Mapping[Any, Any]) -> Any:
    if len(parameters) != 1:
        raise ModelLoadError(f"it holds {len(parameters)} embeddings where there must be one; it may be no textual inversion")
    return next(iter(parameters.values()))


def _checked(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() not in (1, 2) or value.numel() == 0:
        raise ModelLoadError("what it holds is no vectors")
    vectors = value.detach().float().reshape(-1, value.shape[-1]).clone()
    if not bool(torch.isfinite(vectors).all()):
        raise ModelLoadError("it holds numbers that are not finite")
    return vectors


def _tensor_from_json(value: dict[str, Any]) -> Any:
    return torch.tensor(value["TORCHTENSOR"]) if set(value) == {"TORCHTENSOR"} else value
