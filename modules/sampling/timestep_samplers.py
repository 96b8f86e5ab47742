"""Samplers that A1111 runs on the training timesteps, written in this folder's coordinates.

With x = x_t / alpha a variance-preserving step becomes one in sigma. They end at their last sigma, not at 0, and return x_t there
as it is (alpha * x), since that is what users' pictures were made from.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modules.sampling.multistep_samplers import ADAMS_BASHFORTH
from modules.sampling.ode_samplers import ancestral_step
from modules.sampling.types import Denoiser, NoiseSource, SplitDenoiser, StepCallback


def ddim(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Denoising diffusion implicit models (Song et al. 2020, arXiv:2010.02502, eq. 12); eta 0 is deterministic, 1 is DDPM."""
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        # Divided by the new alpha, the paper's sigma_t is the ancestral step's share of fresh noise.
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = x0 + (x - x0) * (down / sigmas[i])
        if up > 0:
            x = x + noise.draw() * up
    return scaled(x, sigmas[-1])


def ddim_cfgpp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 0.0,
) -> Tensor:
    """CFG++ (Chung et al. 2024, arXiv:2406.08070): DDIM that goes back along the unconditional noise. Needs a `SplitDenoiser`."""
    if not isinstance(denoise, SplitDenoiser):
        raise TypeError("DDIM CFG++ needs a denoiser that can tell its unconditional half")
    for i in range(len(sigmas) - 1):
        x0, uncond = denoise.split(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = x0 + (x - uncond) * (down / sigmas[i])
        if up > 0:
            x = x + noise.draw() * up
    return scaled(x, sigmas[-1])


def plms(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """Pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778): Adams-Bashforth of order 4, started by a step of Heun's method."""
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        sigma, target = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        slopes = [(x - x0) / sigma, *slopes[:3]]
        if i == 0:
            ahead = x + slopes[0] * (target - sigma)
            x = x + (slopes[0] + (ahead - denoise(ahead, target)) / target) * ((target - sigma) / 2)
            continue
        weights = ADAMS_BASHFORTH[len(slopes) - 1]
        for slope, weight in zip(slopes, weights, strict=True):
            x = x + slope * (weight * (target - sigma))
    return scaled(x, sigmas[-1])


def scaled(x: Tensor, sigma: float) -> Tensor:
    """x_t, variance preserving, of x = x_t / alpha."""
    return x * (1 + sigma**2) ** -0.5
