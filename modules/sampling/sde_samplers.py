"""Samplers that put fresh noise back at every step: ancestral ones and solvers of the reverse diffusion equation.

Each is a pure function of its arguments: see `types.Sampler` for the contract, `registry` for the names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from modules.sampling.ode_samplers import ancestral_step, heun_step, midpoint_step
from modules.sampling.sigmas import karras
from modules.sampling.types import Denoiser, NoiseSource, StepCallback


def euler_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Euler steps to a lower level than asked for, made up with fresh noise."""
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = x + (x - x0) * ((down - sigmas[i]) / sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise.draw() * (s_noise * up)
    return x


def dpm_2_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-2 steps to a lower level than asked for, made up with fresh noise."""
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = midpoint_step(denoise, x, x0, sigmas[i], down)
        if sigmas[i + 1] > 0:
            x = x + noise.draw() * (s_noise * up)
    return x


def dpmpp_2s_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver++(2S) (Lu et al. 2022, arXiv:2211.01095, algorithm 1) to a lower level than asked for, made up with fresh noise."""
    for i in range(len(sigmas) - 1):
        sigma = sigmas[i]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        down, up = ancestral_step(sigma, sigmas[i + 1], eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            x0 = denoise(_toward(x, x0, middle / sigma), middle)
        x = _toward(x, x0, down / sigma)
        if sigmas[i + 1] > 0:
            x = x + noise.draw() * (s_noise * up)
    return x


def dpmpp_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """SDE-DPM-Solver++ of two stages (arXiv:2211.01095): both to lower levels than asked for, made up with increments of one path."""
    path = _path(noise, sigmas)
    for i in range(len(sigmas) - 1):
        sigma, target = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        if target == 0:
            return x0
        middle = math.sqrt(sigma * target)
        down, up = ancestral_step(sigma, middle, eta)
        halfway = _toward(x, x0, down / sigma) + path(sigma, middle) * (s_noise * up)
        # The stage lies half way, so its weight 1 / (2 * 1/2) leaves nothing of the first.
        x0 = denoise(halfway, middle)
        down, up = ancestral_step(sigma, target, eta)
        x = _toward(x, x0, down / sigma) + path(sigma, target) * (s_noise * up)
    return x


def dpmpp_2m_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    heun: bool = False,
) -> Tensor:
    """SDE-DPM-Solver++(2M) (arXiv:2211.01095, section 6): one network call a step, the last one's slope for the second order.

    `heun` takes the exact integral of that slope, otherwise its value in the middle.
    """
    path = _path(noise, sigmas)
    previous, previous_step = None, 0.0
    for i in range(len(sigmas) - 1):
        sigma, target = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        if target == 0:
            return x0
        step = math.log(sigma / target)
        decay = -math.expm1(-step * (1 + eta))
        x = x * (target / sigma * math.exp(-eta * step)) + x0 * decay
        if previous is not None:
            gain = 1 - decay / (step * (1 + eta)) if heun else decay / 2
            x = x + (x0 - previous) * (gain * step / previous_step)
        if eta:
            x = x + path(sigma, target) * (target * math.sqrt(-math.expm1(-2 * eta * step)) * s_noise)
        previous, previous_step = x0, step
    return x


def dpmpp_2m_sde_heun(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """`dpmpp_2m_sde` with the exact integral of the slope."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, on_step, eta=eta, s_noise=s_noise, heun=True)


def dpmpp_3m_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """SDE-DPM-Solver++(3M): slope and curvature of x0 over log sigma from the last three network calls."""
    path = _path(noise, sigmas)
    history: list[tuple[Tensor, float]] = []
    for i in range(len(sigmas) - 1):
        sigma, target = sigmas[i], sigmas[i + 1]
        x0 = denoise(x, sigma)
        on_step(i, x, sigma, x0)
        if target == 0:
            return x0
        step = math.log(sigma / target)
        span = step * (1 + eta)
        phi_1 = -math.expm1(-span)
        phi_2 = 1 - phi_1 / span
        x = x * math.exp(-span) + x0 * phi_1
        if history:
            (last, last_step), *older = history
            ratio = last_step / step
            slope = (x0 - last) / ratio
            if older:
                before, before_step = older[0]
                ratio_before = before_step / step
                bend = (slope - (last - before) / ratio_before) / (ratio + ratio_before)
                slope = slope + bend * ratio
                x = x - bend * (phi_2 / span - 0.5)
            x = x + slope * phi_2
        if eta:
            x = x + path(sigma, target) * (target * math.sqrt(-math.expm1(-2 * eta * step)) * s_noise)
        history = [(x0, step), *history[:1]]
    return x


def lcm(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """Latent consistency models (Luo et al. 2023, arXiv:2310.04378): jump to x0 and noise it again to the next level."""
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        x = x0 + noise.draw() * sigmas[i + 1] if sigmas[i + 1] > 0 else x0
    return x


def restart(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback, *, s_noise: float = 1.0
) -> Tensor:
    """Restart sampling (Xu et al. 2023, arXiv:2306.14878): Heun steps, and from 20 steps on back up to sigma 2 and down again."""
    level = sigmas[0]
    for i, (sigma, target) in enumerate(_restart_steps(sigmas)):
        if sigma > level:
            x = x + noise.draw() * (s_noise * math.sqrt(sigma**2 - level**2))
        x = heun_step(denoise, x, sigma, target, i, on_step)
        level = target
    return x


def _restart_steps(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """The (from, to) levels: as many steps as `sigmas` has, some of which go down from 2 to 0.1 again."""
    count, rounds = len(sigmas) - 1, 0
    again = 0
    if count >= 20:
        again, rounds = (count // 4, 2) if count >= 36 else (9, 1)
        sigmas = karras(count - again * rounds, sigmas[-2], sigmas[0], 7.0)
    steps = list(pairwise(sigmas))
    low, high = (min(range(len(sigmas)), key=lambda i, level=level: abs(sigmas[i] - level)) for level in (0.1, 2.0))
    if not rounds or high >= low:
        return steps
    loop = karras(again + 1, sigmas[low], sigmas[high], 7.0)[:-1]
    return [*steps[:low], *list(pairwise(loop)) * rounds, *steps[low:]]


def _toward(x: Tensor, x0: Tensor, ratio: float) -> Tensor:
    """x moved to `ratio` times its noise level, if x0 is what it is noise around."""
    return torch.lerp(x0, x, ratio)


def _path(noise: NoiseSource, sigmas: Sequence[float]) -> Callable[[float, float], Tensor]:
    positive = [sigma for sigma in sigmas if sigma > 0]
    return noise.brownian(min(positive), max(positive))
