"""Which attention kernels do the networks use? The one place that decides."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import torch

log = logging.getLogger(__name__)


def use_attention(networks: list[Any], device: torch.device, *, prefer_xformers: bool) -> str:
    """Set the attention of diffusers `networks` up and say which it is: xformers where it is wanted, imports and runs here, else sdpa."""
    if not prefer_xformers or not xformers_runs(device):
        return "sdpa"  # what diffusers' networks are built with
    for network in networks:
        network.enable_xformers_memory_efficient_attention()
    return "xformers"


def xformers_runs(device: torch.device) -> bool:
    """Whether xformers' kernels work on this device, found out by running one: a build for another PyTorch imports and then fails."""
    if device.type != "cuda":
        return False
    try:
        ops = importlib.import_module("xformers.ops")
        sample = torch.zeros((1, 16, 1, 32), dtype=torch.float16, device=device)
        ops.memory_efficient_attention(sample, sample, sample)
    except (ImportError, OSError, RuntimeError, NotImplementedError, ValueError, AttributeError) as error:
        log.warning(
            "xformers can't be used here, PyTorch's own attention is: %s",
            str(error).splitlines()[0] if str(error) else type(error).__name__,
        )
        return False
    return True
