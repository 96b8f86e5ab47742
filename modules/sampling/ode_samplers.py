"""Samplers that solve the probability-flow equation dx / dsigma = (x - x0) / sigma, one step at a time.

Each is a pure function of its arguments: see `types.Sampler` for the contract, `registry` for the names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from modules.sampling.types import Denoiser, NoiseSource, StepCallback


def euler(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Euler steps (Karras et al. 2022, algorithm 2 without its second-order correction)."""
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        x0 = denoise(x, sigma)
        on_step(i, x, sigmas[i], x0)
        x = x + (x - x0) * ((sigmas[i + 1] - sigma) / sigma)
    return x


def heun(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Heun's method (Karras et al. 2022, algorithm 2): Euler, then again with the mean of the slopes at both ends."""
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        x = heun_step(denoise, x, sigma, sigmas[i + 1], i, on_step)
    return x


def dpm_2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-2 (Lu et al. 2022, arXiv:2206.00927) with Karras' churn: the slope is taken half way in log sigma."""
    for i in range(len(sigmas) - 1):
        x, sigma = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        x = midpoint_step(denoise, x, x0, sigma, sigmas[i + 1])
    return x


def heunpp2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Heun++ (Liu et al. 2024): slopes of up to two steps ahead, weighted by their noise levels; shorter near the end."""
    last = len(sigmas) - 1
    for i in range(last):
        x, sigma = churn(x, sigmas, i, noise, s_churn, s_tmin, s_tmax, s_noise)
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        slope = (x - x0) / sigma
        ahead, mean = x, slope
        count = min(3, last - i)
        probe, level = slope, sigma
        for k in range(1, count):
            ahead = ahead + probe * (sigmas[i + k] - level)
            level = sigmas[i + k]
            probe = (ahead - denoise(ahead, level)) / level
            mean = mean + (probe - slope) * (level / (count * sigmas[0]))
        x = x + mean * (sigmas[i + 1] - sigma)
    return x


def dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2), first order where there is no history and at the end."""
    previous: Tensor | None = None
    for i in range(len(sigmas) - 1):
        sigma, target = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        if target == 0:
            return x0
        step = math.log(sigma / target)
        direction = x0
        if previous is not None:
            ratio = math.log(sigmas[i - 1] / sigma) / step
            direction = x0 * (1 + 1 / (2 * ratio)) - previous * (1 / (2 * ratio))
        x = x * (target / sigma) - direction * math.expm1(-step)
        previous = x0
    return x


def churn(
    x: Tensor, sigmas: Sequence[float], i: int, noise: NoiseSource, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
) -> tuple[Tensor, float]:
    """(x, sigma) of step `i` after raising the noise level by Karras' gamma = min(s_churn / steps, sqrt(2) - 1) within [s_tmin, s_tmax]."""
    sigma = sigmas[i]
    if s_churn <= 0:
        return x, sigma
    # Drawn also outside the range: the range then never shifts the noise of later steps.
    fresh = noise.draw()
    if not s_tmin <= sigma <= s_tmax:
        return x, sigma
    raised = sigma * (1 + min(s_churn / (len(sigmas) - 1), math.sqrt(2) - 1))
    return x + fresh * (s_noise * math.sqrt(raised**2 - sigma**2)), raised


def heun_step(denoise: Denoiser, x: Tensor, sigma: float, target: float, i: int, on_step: StepCallback) -> Tensor:
    """One step of Heun's method from `sigma` to `target`; plain Euler to 0."""
    x0 = denoise(x, sigma)
    on_step(i, x, sigma, x0)
    if target == 0:
        return x0
    slope = (x - x0) / sigma
    ahead = x + slope * (target - sigma)
    slope_ahead = (ahead - denoise(ahead, target)) / target
    return x + (slope + slope_ahead) * ((target - sigma) / 2)


def midpoint_step(denoise: Denoiser, x: Tensor, x0: Tensor, sigma: float, target: float) -> Tensor:
    """One step along the slope at the geometric mean of `sigma` and `target`; plain Euler to 0."""
    if target == 0:
        return x0
    middle = math.sqrt(sigma * target)
    halfway = x + (x - x0) * ((middle - sigma) / sigma)
    return x + (halfway - denoise(halfway, middle)) * ((target - sigma) / middle)


def ancestral_step(sigma: float, target: float, eta: float = 1.0) -> tuple[float, float]:
    """(the level to go down to, the noise to add) so that the variances sum to target^2; eta scales the noise."""
    up = min(target, eta * math.sqrt(max(0.0, target**2 * (sigma**2 - target**2) / sigma**2)))
    return math.sqrt(max(0.0, target**2 - up**2)), up
