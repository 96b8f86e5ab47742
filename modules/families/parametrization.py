"""How does a network's output become x0 in the samplers' coordinates? The maps between eps, v and x0, and between sigma and timestep.

With x = x_t / alpha and sigma = sigma_t / alpha_t the network's own input is x_t = x / sqrt(1 + sigma^2) (variance preserving).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

TIMESTEPS = 1000
PREDICTIONS = ("eps", "v")


LAST_ALPHA = 4.8973451890853435e-08
"""The signal's power at the last timestep of a schedule that should end without any: what A1111 puts there, so that sigma is finite."""


def model_sigmas(linear_start: float, linear_end: float, *, scaled: bool = True, zero_snr: bool = False) -> tuple[float, ...]:
    """sqrt((1 - a) / a) for the cumulative products a of 1 - beta, ascending, one a training timestep.

    `scaled`: the square roots of the betas are evenly spaced (Rombach et al. 2022), else the betas themselves (Ho et al. 2020).
    `zero_snr`: the schedule is stretched so that nothing of the signal is left at its end (Lin et al. 2023, arXiv:2305.08891, algorithm 1).
    """
    if scaled:
        betas = torch.linspace(linear_start**0.5, linear_end**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    else:
        betas = torch.linspace(linear_start, linear_end, TIMESTEPS, dtype=torch.float64)
    alphas = torch.cumprod(1.0 - betas, dim=0)
    if zero_snr:
        roots = alphas.sqrt()
        alphas = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
        alphas[-1] = LAST_ALPHA
    return tuple(((1 - alphas) / alphas).sqrt().tolist())


def downcast_levels(sigmas: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(levels, their logarithms) as they come out where the cumulative products are kept, and reckoned with, in float16.

    A1111 did so before 1.7.0-225, and k-diffusion made both of its tables from that. A level that float16 has no number for (those of a
    schedule that ends without signal) stays as it is.
    """
    exact = torch.tensor(sigmas, dtype=torch.float64)
    alphas = (1.0 / (1.0 + exact**2)).float().half()
    rounded = ((1 - alphas) / alphas) ** 0.5
    known = torch.isfinite(rounded)
    levels = torch.where(known, rounded.double(), exact)
    logs = torch.where(known, rounded.log().double(), exact.log())
    return tuple(levels.tolist()), tuple(logs.tolist())


def timestep_of(sigma: float, log_sigmas: Sequence[float]) -> float:
    """The fractional timestep of a noise level: linear in log sigma between the training timesteps, clamped to their range."""
    wanted = math.log(max(sigma, 1e-10))
    above = min(max(bisect_left(log_sigmas, wanted), 1), len(log_sigmas) - 1)
    low, high = log_sigmas[above - 1], log_sigmas[above]
    return above - 1 + min(max((wanted - low) / (high - low), 0.0), 1.0) if high > low else float(above - 1)


def input_scale(sigma: float) -> float:
    """What x is multiplied by to be the network's x_t: alpha."""
    return 1.0 / math.sqrt(1.0 + sigma * sigma)


def to_x0(prediction: str, output: Tensor, x: Tensor, sigma: float) -> Tensor:
    """x0 (n, C, H, W) from the network's output at x; eps: Ho et al. 2020, v: Salimans & Ho 2022 (arXiv:2202.00512, appendix D)."""
    if prediction == "v":
        alpha = input_scale(sigma)
        return x * (alpha * alpha) - output * (sigma * alpha)
    return x - output * sigma


def from_x0(prediction: str, x0: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The inverse of `to_x0`."""
    if prediction == "v":
        alpha = input_scale(sigma)
        return (x * (alpha * alpha) - x0) / (sigma * alpha)
    return (x - x0) / sigma
