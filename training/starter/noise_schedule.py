"""How much noise is in a picture at which time: SD1's schedule."""

from __future__ import annotations

import torch

TIMESTEPS = 1000
LINEAR_START, LINEAR_END = 0.00085, 0.012


def alphas_cumprod() -> torch.Tensor:
    """Return SD1's noise schedule, (1000,): the share of the signal's power that is left at each time."""
    betas = torch.linspace(LINEAR_START**0.5, LINEAR_END**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, 0).float()
