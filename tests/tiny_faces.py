"""Face restorers for tests: spandrel's own classes with random weights, written as users' files are.

RestoreFormer's sizes are free, so it can be small; GFPGAN's and most of CodeFormer's are fixed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from spandrel.architectures.GFPGAN import GFPGAN
from spandrel.architectures.RestoreFormer import RestoreFormer
from torch import nn

from modules.domain.catalog import FaceRestorerInfo


def tiny_restoreformer(seed: int = 0) -> RestoreFormer:
    """A face network that takes milliseconds to make and a second or two to run; what it makes of faces is a grey pattern."""
    torch.manual_seed(seed)
    return RestoreFormer(
        n_embed=16, embed_dim=32, ch=32, ch_mult=(1,) * 6, num_res_blocks=1, attn_resolutions=(16,), z_channels=32, double_z=False
    ).eval()


def random_gfpgan(seed: int = 0) -> GFPGAN:
    """GFPGAN at its only size."""
    torch.manual_seed(seed)
    return GFPGAN(out_size=512, num_style_feat=512, channel_multiplier=2, input_is_latent=True, different_w=True, narrow=1, sft_half=True)


def write_restorer(path: Path, network: nn.Module | None = None, *, kind: str = "GFPGAN", nested: str = "") -> FaceRestorerInfo:
    """Save the network at `path` as published files are, `nested` below that key; its row of the catalogue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = (network or tiny_restoreformer()).state_dict()
    torch.save({nested: state} if nested else state, path)
    stat = path.stat()
    return FaceRestorerInfo(kind=kind, path=str(path), size=stat.st_size, modified=stat.st_mtime_ns / 1e9)
