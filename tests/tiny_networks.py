"""LoRAs and textual inversions for the tiny models, written as users' files are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modules.domain.networks import EmbeddingInfo, LoraInfo
from tests.tiny_models import TinyModel

ATTENTION = ("attn2.to_k", "attn2.to_v", "self_attn.q_proj", "self_attn.v_proj")
Tensors = dict[str, Tensor]


def layers(model: TinyModel, endings: tuple[str, ...] = ATTENTION) -> dict[str, nn.Module]:
    """The layers whose names end so, by kohya's names."""
    found = {f"lora_unet_{path.replace('.', '_')}": layer for path, layer in model.unet.named_modules() if path.endswith(endings)}
    text = {f"lora_te_text_model_{path.replace('.', '_')}": layer for path, layer in model.text.named_modules() if path.endswith(endings)}
    return found | text


def lora_tensors(model: TinyModel, *, rank: int = 2, seed: int = 0, size: float = 0.3) -> Tensors:
    """A LoRA for the cross attention and the text encoder, strong enough to show."""
    random = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, layer in layers(model).items():
        out, width = layer.weight.shape
        tensors[f"{name}.lora_up.weight"] = torch.randn(out, rank, generator=random) * size
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, width, generator=random) * size
        tensors[f"{name}.alpha"] = torch.tensor(float(rank))
    return tensors


def write_lora(folder: Path, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None, alias: str = "") -> LoraInfo:
    """Write `name`.safetensors and return the catalogue's row."""
    path = folder / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, path, metadata)
    stat = path.stat()
    return LoraInfo(name=f"{name}.safetensors", path=str(path), size=stat.st_size, modified=stat.st_mtime_ns / 1e9, alias=alias)


def embedding_info(path: Path, word: str | None = None) -> EmbeddingInfo:
    """The catalogue's row for an embedding's file."""
    stat = path.stat()
    return EmbeddingInfo(
        name=path.name, path=str(path), word=word or path.stem, size=stat.st_size, modified=stat.st_mtime_ns / 1e9, sha256="cd" * 32
    )


def write_embedding(folder: Path, word: str, vectors: Tensor) -> EmbeddingInfo:
    """Write the vectors (n, width) as `word`.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{word}.safetensors"
    save_file({"emb_params": vectors}, path)
    return embedding_info(path)
