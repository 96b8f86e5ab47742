"""Samplers that reuse the slopes of earlier steps: one network call a step, higher order.

With d = (x - x0) / sigma the equation to solve is dx / dsigma = d; they differ in how they extrapolate d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from modules.sampling.types import Denoiser, NoiseSource, StepCallback

ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Weights of the newest slope first, for equal steps."""


def lms(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """Linear multistep of order 4: the polynomial through the last slopes, integrated exactly."""

    def weights(i: int) -> list[float]:
        nodes = [sigmas[i - k] for k in range(min(i + 1, 4))]
        start, end = sigmas[i], sigmas[i + 1]
        # Simpson's rule is exact for the cubic that four nodes give.
        points = ((start, 1 / 6), ((start + end) / 2, 4 / 6), (end, 1 / 6))
        return [(end - start) * sum(_lagrange(nodes, j, at) * part for at, part in points) for j in range(len(nodes))]

    return _multistep(denoise, x, sigmas, on_step, weights)


def ipndm(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """Improved pseudo numerical method (Zhang & Chen 2022, arXiv:2204.13902): Adams-Bashforth weights as if all steps were equal."""

    def weights(i: int) -> list[float]:
        return [weight * (sigmas[i + 1] - sigmas[i]) for weight in ADAMS_BASHFORTH[min(i, 3)]]

    return _multistep(denoise, x, sigmas, on_step, weights)


def ipndm_v(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """`ipndm` with weights that follow the actual steps."""

    def weights(i: int) -> list[float]:
        steps = [sigmas[i - k + 1] - sigmas[i - k] for k in range(min(i + 1, 4))]
        return [steps[0] * weight for weight in _variable_step_weights(steps)]

    return _multistep(denoise, x, sigmas, on_step, weights)


def deis(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback) -> Tensor:
    """Diffusion exponential integrator (Zhang & Chen 2022, arXiv:2204.13902, tAB) of order 3: polynomials in diffusion time."""
    times = [_diffusion_time(sigma) for sigma in sigmas]

    def weights(i: int) -> list[float]:
        if i == 0 or sigmas[i + 1] <= 0:
            return [sigmas[i + 1] - sigmas[i]]
        nodes = [times[i - k] for k in range(min(i + 1, 3))]
        start, end = times[i], times[i + 1]
        total = [0.0] * len(nodes)
        pieces = 64
        for piece in range(pieces):
            low, high = (start + (end - start) * at / pieces for at in (piece, piece + 1))
            step = _sigma_of_time(high) - _sigma_of_time(low)
            for j in range(len(nodes)):
                total[j] += _lagrange(nodes, j, (low + high) / 2) * step
        return total

    return _multistep(denoise, x, sigmas, on_step, weights)


def _multistep(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], on_step: StepCallback, weights: Callable[[int], list[float]]
) -> Tensor:
    """x plus the weighted slopes, newest first, at every step; `weights(i)` says how many it wants."""
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        x0 = denoise(x, sigmas[i])
        on_step(i, x, sigmas[i], x0)
        slopes = [(x - x0) / sigmas[i], *slopes[:3]]
        for slope, weight in zip(slopes, weights(i), strict=False):
            x = x + slope * weight
    return x


def _lagrange(nodes: Sequence[float], j: int, at: float) -> float:
    """The polynomial that is 1 at node j and 0 at the others."""
    return math.prod((at - node) / (nodes[j] - node) for k, node in enumerate(nodes) if k != j)


def _variable_step_weights(steps: list[float]) -> list[float]:
    """Weights of the last slopes, newest first, for the steps h (to be taken), h1, h2, h3 (taken, newest first)."""
    if len(steps) == 1:
        return [1.0]
    h, h1 = steps[:2]
    linear = h / h1 / 2
    if len(steps) == 2:
        return [1 + linear, -linear]
    h2 = steps[2]
    square = (1 - h / (3 * (h + h1)) * (h * (h + h1)) / (h1 * (h1 + h2))) / 2
    ratio = h1 / h2
    if len(steps) == 3:
        return [1 + linear + square, -linear - (1 + ratio) * square, ratio * square]
    h3 = steps[3]
    cube = ((1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))) * (
        h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
    )
    far = h1 * (h1 + h2) / (h2 * (h2 + h3))
    return [
        1 + linear + square + cube,
        -linear - (1 + ratio) * square - (1 + ratio + far) * cube,
        ratio * square + (ratio + far * (1 + h2 / h3)) * cube,
        # The theory has h2 / h3 here; pictures out there were made with this.
        -cube * far * h1 / h2,
    ]


_LOG_LOW, _LOG_HIGH, _START = math.log(0.002**2 + 1), math.log(80.0**2 + 1), 1e-3
_BETA_SPAN = 2 * (_LOG_LOW / _START - _LOG_HIGH) / (_START - 1)
_BETA_MIN = _LOG_HIGH - _BETA_SPAN / 2
"""The linear beta schedule for which time 0.001 has sigma 0.002 and time 1 has sigma 80 (Karras et al. 2022, appendix C.1)."""


def _diffusion_time(sigma: float) -> float:
    return (math.sqrt(_BETA_MIN**2 + 2 * _BETA_SPAN * math.log(sigma**2 + 1)) - _BETA_MIN) / _BETA_SPAN


def _sigma_of_time(time: float) -> float:
    return math.sqrt(math.expm1(_BETA_SPAN * time**2 / 2 + _BETA_MIN * time))
