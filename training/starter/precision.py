"""In which arithmetic do the networks learn? bfloat16 where the machine multiplies faster in it, float32 everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from training.starter.config import StarterConfig

Precision = Callable[[], AbstractContextManager[None]]
"""Called for a context in which a network runs."""

FULL: Precision = nullcontext


def precision_of(config: StarterConfig) -> Precision:
    """Return what `config.precision` means on its device. The weights are float32 in any case, and so are the losses."""
    chosen = config.precision
    if chosen == "auto":
        chosen = "bfloat16" if bfloat16_is_faster(torch.device(config.device)) else "float32"
        print(f"precision: {chosen}", flush=True)
    if chosen == "float32":
        return FULL
    return partial(torch.autocast, torch.device(config.device).type, dtype=torch.bfloat16)


def bfloat16_is_faster(device: torch.device) -> bool:
    """Return whether a convolution takes less than three quarters of its time in bfloat16; some processors only emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _seconds(torch.bfloat16) < 0.75 * _seconds(torch.float32)


def _seconds(kind: torch.dtype) -> float:
    convolution = torch.nn.Conv2d(128, 128, 3, padding=1).to(kind)
    x = torch.zeros(16, 128, 16, 16, dtype=kind)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(12):
            start = time.perf_counter()
            convolution(x)
            best = min(best, time.perf_counter() - start)
    return best
