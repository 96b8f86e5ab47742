"""What is a text encoder in OpenCLIP's layout, as single files of SD2 and SDXL hold it? Its config from the shapes, its tensors' names.

OpenCLIP keeps the three projections of attention in one matrix and the text's projection the other way round, so many names lead to
pieces of a tensor.
"""

from __future__ import annotations

import re
from typing import Any

from modules.domain.errors import ModelLoadError
from modules.families.base import Piece, Shapes
from modules.families.ldm_layout import how_many, require, shape_of, under

PAD = 0
"""OpenCLIP's models are trained with this token after a text's end mark."""

HEAD_CHANNELS = 64
WHAT = "OpenCLIP text encoder"

_FUSED = "transformer.resblocks.0.attn.in_proj_weight"
_EMBEDDINGS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def config(shapes: Shapes, prefix: str, *, dropped: int = 0) -> dict[str, Any]:
    """The arguments of `CLIPTextConfig` for the encoder whose names begin with `prefix`, its last `dropped` layers left out."""
    at = under(shapes, prefix)
    vocabulary, width = shape_of(at, "token_embedding.weight", WHAT)
    layers = how_many(at, r"transformer\.resblocks\.(\d+)\.attn\.in_proj_weight")
    require(width % HEAD_CHANNELS == 0, f"its text encoder's width {width} is not a multiple of {HEAD_CHANNELS}")
    require(layers > dropped, f"its text encoder has {layers} layers")
    require(shape_of(at, _FUSED, WHAT) == (3 * width, width), "its text encoder's attention has an unusual shape")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shape_of(at, "transformer.resblocks.0.mlp.c_fc.weight", WHAT)[0],
        "projection_dim": _projection_width(at) or width,
        "num_hidden_layers": layers - dropped,
        "num_attention_heads": width // HEAD_CHANNELS,
        "max_position_embeddings": shape_of(at, "positional_embedding", WHAT)[0],
        "hidden_act": "gelu",
    }


def names(shapes: Shapes, prefix: str) -> dict[str, str | Piece]:
    """transformers' name (without `text_model.`) of each of the text encoder's tensors -> its name or piece in the checkpoint."""
    found: dict[str, str | Piece] = {}
    for name, shape in under(shapes, prefix).items():
        if name in _EMBEDDINGS:
            found[_EMBEDDINGS[name]] = prefix + name
        elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name):
            found |= _layer_names(f"encoder.layers.{match[1]}.", match[2], prefix + name, shape)
    return found


def projection(shapes: Shapes, prefix: str) -> str | Piece:
    """Where the weight of the pooled text's projection is, a linear layer's: (out, in). Raises when it is missing."""
    bare, linear = f"{prefix}text_projection", f"{prefix}text_projection.weight"
    if linear in shapes:
        return linear
    if len(shapes.get(bare, ())) != 2:
        raise ModelLoadError(f"it holds no complete {WHAT} (there is no {bare!r})")
    return Piece(bare, transposed=True)


def _projection_width(at: Shapes) -> int | None:
    if "text_projection.weight" in at:
        return at["text_projection.weight"][0]
    return at["text_projection"][-1] if "text_projection" in at else None


def _layer_names(ours: str, rest: str, theirs: str, shape: tuple[int, ...]) -> dict[str, str | Piece]:
    fused = re.fullmatch(r"attn\.in_proj_(weight|bias)", rest)
    if fused and shape:
        third = shape[0] // 3
        pieces = {letter: Piece(theirs, place * third, (place + 1) * third) for place, letter in enumerate("qkv")}
        return {f"{ours}self_attn.{letter}_proj.{fused[1]}": piece for letter, piece in pieces.items()}
    module, _, kind = rest.rpartition(".")
    return {f"{ours}{_LAYER[module]}.{kind}": theirs} if module in _LAYER else {}
