"""DPM-Solver in its two original forms: a fixed number of network calls in steps of order 3, and steps as large as an error allows.

Lu et al. 2022, arXiv:2206.00927. Both only take the ends of the schedule and choose their own levels between, evenly in log sigma.
They end at the last sigma above 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modules.sampling.ode_samplers import ancestral_step
from modules.sampling.types import Denoiser, NoiseSource, StepCallback

_RTOL = 0.05
_ATOL = 0.0078
_FIRST_STEP = 0.05
_SAFETY = 0.81


def dpm_fast(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-fast: as many network calls as `sigmas` has steps, in groups of three."""
    calls, lowest = len(sigmas) - 1, _lowest(sigmas)
    if lowest == sigmas[0]:
        return _leap(denoise, x, lowest, on_step)
    start, end = -math.log(sigmas[0]), -math.log(lowest)
    groups = calls // 3 + 1
    times = [start + (end - start) * k / groups for k in range(groups + 1)]
    orders = [3] * (groups - 2) + [2, 1] if calls % 3 == 0 else [3] * (groups - 1) + [calls % 3]
    for i, order in enumerate(orders):
        time, target = times[i], times[i + 1]
        down, up = _ancestral_time(time, target, end, eta)
        step = _Step(denoise, x, time)
        on_step(i, x, math.exp(-time), step.x0)
        x = step.advance(down, order)
        if up > 0:
            x = x + noise.draw() * (s_noise * up)
    return x


def dpm_adaptive(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """DPM-Solver-12/23 with an error estimate: the number of steps follows from the picture, not from `sigmas`.

    Steps that are refused count as steps of `on_step`, too. All pictures of a batch share the error, so that a batch must be one picture
    where a picture is not to depend on its neighbours. Where the network gives no finite numbers, nor does this.
    """
    lowest = _lowest(sigmas)
    if lowest == sigmas[0]:
        return _leap(denoise, x, lowest, on_step)
    time, end = -math.log(sigmas[0]), -math.log(lowest)
    size, order = _FIRST_STEP, 1.5 if eta else 3.0
    previous, i = x, 0
    while time < end - 1e-5:
        target = min(end, time + size)
        down, up = _ancestral_time(time, target, end, eta)
        step = _Step(denoise, x, time)
        on_step(i, x, math.exp(-time), step.x0)
        low, high = step.advance(down, 2, first=1 / 3), step.advance(down, 3)
        scale = torch.clamp(torch.maximum(low.abs(), previous.abs()) * _RTOL, min=_ATOL)
        error = float(torch.linalg.vector_norm((low - high) / scale)) / math.sqrt(x.numel())
        if not math.isfinite(error):
            # no smaller step would mend it, and none would ever be accepted
            return x * math.nan
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / order) - 1)
        if factor >= _SAFETY:
            previous, x, time = low, high, target
            x = x + noise.draw() * (s_noise * up) if up > 0 else x
        size *= factor
        i += 1
    return x


@dataclass(slots=True)
class _Step:
    """The slopes around one starting point; those that two orders share are evaluated once. Times are -log sigma."""

    denoise: Denoiser
    x: Tensor
    time: float
    x0: Tensor = field(init=False)
    eps: Tensor = field(init=False)
    probes: dict[float, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.x0 = self.denoise(self.x, math.exp(-self.time))
        self.eps = (self.x - self.x0) / math.exp(-self.time)

    def advance(self, target: float, order: int, first: float | None = None) -> Tensor:
        """x at `target` by the single-step solver of this order (1 to 3); `first` is where within the step the first probe lies."""
        h, sigma = target - self.time, math.exp(-target)
        x = self.x - self.eps * (sigma * math.expm1(h))
        if order == 1:
            return x
        r1 = first or (1 / 2 if order == 2 else 1 / 3)
        near = self._probe(h, r1)
        if order == 2:
            return x - (near - self.eps) * (sigma / (2 * r1) * math.expm1(h))
        r2 = 2 / 3
        time = self.time + r2 * h
        level = math.exp(-time)
        bend = level * r2 / r1 * (math.expm1(r2 * h) / (r2 * h) - 1)
        far = self.x - self.eps * (level * math.expm1(r2 * h)) - (near - self.eps) * bend
        slope = (far - self.denoise(far, level)) / level
        return x - (slope - self.eps) * (sigma / r2 * (math.expm1(h) / h - 1))

    def _probe(self, h: float, part: float) -> Tensor:
        """The slope at `part` of the step, reached by Euler's method."""
        if part not in self.probes:
            level = math.exp(-(self.time + part * h))
            at = self.x - self.eps * (level * math.expm1(part * h))
            self.probes[part] = (at - self.denoise(at, level)) / level
        return self.probes[part]


def _ancestral_time(time: float, target: float, end: float, eta: float) -> tuple[float, float]:
    """(the time to step to, the noise to add there) for an ancestral step to `target` that may not overshoot `end`."""
    if not eta:
        return target, 0.0
    down, _ = ancestral_step(math.exp(-time), math.exp(-target), eta)
    beyond = min(end, -math.log(down)) if down > 0 else end
    return beyond, math.sqrt(max(0.0, math.exp(-2 * target) - math.exp(-2 * beyond)))


def _lowest(sigmas: Sequence[float]) -> float:
    return sigmas[-1] if sigmas[-1] > 0 else sigmas[-2]


def _leap(denoise: Denoiser, x: Tensor, sigma: float, on_step: StepCallback) -> Tensor:
    """All there is to do in a schedule of one level."""
    x0 = denoise(x, sigma)
    on_step(0, x, sigma, x0)
    return x0
