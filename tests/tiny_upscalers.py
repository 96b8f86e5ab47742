"""Upscalers small enough for milliseconds: spandrel's own classes with random weights, written as users' files are."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact

from modules.domain.catalog import UpscalerInfo


def tiny_compact(seed: int = 0, *, scale: int = 2, convolutions: int = 2, channels: int = 3) -> Compact:
    """Real-ESRGAN's compact network; what it makes of a pixel depends on `convolutions` + 2 neighbours on each side."""
    torch.manual_seed(seed)
    return Compact(num_in_ch=channels, num_out_ch=channels, num_feat=8, num_conv=convolutions, upscale=scale).eval()


def upscaler_info(path: Path, label: str | None = None) -> UpscalerInfo:
    """The catalogue's row for a file."""
    stat = path.stat()
    return UpscalerInfo(label=label or path.stem, path=str(path), size=stat.st_size, modified=stat.st_mtime_ns / 1e9)


def write_upscaler(path: Path, network: Compact | None = None, *, nested: str = "", old: bool = False) -> UpscalerInfo:
    """Save the network at `path`: by its ending as safetensors or pickled, `nested` below that key, `old` in PyTorch's former format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = (network or tiny_compact()).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({nested: state} if nested else state, path, _use_new_zipfile_serialization=not old)
    return upscaler_info(path)
