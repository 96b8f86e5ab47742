"""Which noise levels does a schedule visit? Pure floats in, pure floats out; knows no tensors.

`model_sigmas` are the network's own levels, ascending, one a training timestep.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from modules.sampling.registry import SamplerRow

TIME_UNIFORM = "time_uniform"
UNIPC_SKIPS = (TIME_UNIFORM, "time_quadratic", "logSNR")


def schedule_sigmas(
    schedule: str,
    steps: int,
    model_sigmas: Sequence[float],
    *,
    sampler: SamplerRow,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    rho: float | None = None,
    beta_alpha: float = 0.6,
    beta_beta: float = 0.6,
    sdxl: bool = False,
    discard_penultimate: bool = False,
    log_sigmas: Sequence[float] | None = None,
    unipc_skip: str = TIME_UNIFORM,
) -> tuple[float, ...]:
    """The falling noise levels that `sampler` walks in `steps` steps; most end in 0.0.

    `schedule` is an id other than `automatic`; KeyError for one that is not there. `sdxl` picks the tables made for that model. Timestep
    samplers have their own spacing and ignore all of it but `unipc_skip`. `log_sigmas` are the levels' logarithms where those are not
    exact ones.
    """
    if sampler.timestep_rule:
        if sampler.timestep_rule == "unipc":
            return unipc_timesteps(steps, model_sigmas, skip=unipc_skip)
        return ddim_timesteps(steps, model_sigmas)
    logs = log_sigmas if log_sigmas is not None else [math.log(sigma) for sigma in model_sigmas]
    model_sigmas, logs = model_sigmas[sampler.every - 1 :: sampler.every], logs[sampler.every - 1 :: sampler.every]
    extra = 1 if sampler.discard_next_to_last or discard_penultimate else 0
    span = Span(model_sigmas, logs, sigma_min or model_sigmas[0], sigma_max or model_sigmas[-1], rho, beta_alpha, beta_beta, sdxl)
    sigmas = SPACINGS[schedule](steps + extra, span)
    sigmas = (*sigmas[:-2], sigmas[-1]) if extra else sigmas
    return (*sigmas[:-2], span.low, 0.0) if sampler.own_levels and steps > 1 else sigmas


def falling(sigmas: tuple[float, ...], sampler: SamplerRow) -> tuple[float, ...]:
    """The levels without those that repeat the one before, as there are in schedules of more steps than the model has levels.

    From such a level to itself there is nothing to walk, and most samplers would divide by that. Those made for a few of the levels keep
    them: they meet each with fresh noise.
    """
    if sampler.every > 1:
        return sigmas
    return (*(high for high, low in pairwise(sigmas) if high != low), sigmas[-1])


@dataclass(frozen=True, slots=True)
class Span:
    """What a spacing is laid out over. `rho` is None for the spacing's own."""

    model_sigmas: Sequence[float]
    logs: Sequence[float]
    low: float
    high: float
    rho: float | None
    beta_alpha: float
    beta_beta: float
    sdxl: bool


def uniform(steps: int, span: Span) -> tuple[float, ...]:
    """Evenly spaced timesteps from the last to the first."""
    return (*(_level_at(t, span.logs) for t in _line(len(span.logs) - 1, 0, steps)), 0.0)


def karras(steps: int, low: float, high: float, rho: float) -> tuple[float, ...]:
    """Karras et al. 2022, eq. 5 (arXiv:2206.00364), then 0."""
    return (*(root**rho for root in _line(high ** (1 / rho), low ** (1 / rho), steps)), 0.0)


def _karras(steps: int, span: Span) -> tuple[float, ...]:
    return karras(steps, span.low, span.high, span.rho or 7.0)


def _exponential(steps: int, span: Span) -> tuple[float, ...]:
    """Evenly in log sigma."""
    return (*(math.exp(x) for x in _line(math.log(span.high), math.log(span.low), steps)), 0.0)


def _polyexponential(steps: int, span: Span) -> tuple[float, ...]:
    """A polynomial of degree rho in log sigma."""
    low, high = math.log(span.low), math.log(span.high)
    return (*(math.exp(low + r ** (span.rho or 1.0) * (high - low)) for r in _line(1.0, 0.0, steps)), 0.0)


def _sgm_uniform(steps: int, span: Span) -> tuple[float, ...]:
    """Evenly spaced timesteps of which the last, lowest one is left out."""
    return (*_between_timesteps(steps + 1, span)[:-1], 0.0)


def _normal(steps: int, span: Span) -> tuple[float, ...]:
    """Evenly spaced timesteps between those of the two ends."""
    return (*_between_timesteps(steps, span), 0.0)


def _between_timesteps(count: int, span: Span) -> list[float]:
    first, last = _timestep_at(span.high, span.logs), _timestep_at(span.low, span.logs)
    return [_level_at(t, span.logs) for t in _line(first, last, count)]


def _kl_optimal(steps: int, span: Span) -> tuple[float, ...]:
    """Evenly in arctan sigma (Sabour et al. 2024, arXiv:2404.14507, theorem 3.1); it ends at the lowest sigma, without a 0."""
    return tuple(math.tan(x) for x in _line(math.atan(span.high), math.atan(span.low), steps + 1))


def _simple(steps: int, span: Span) -> tuple[float, ...]:
    """Every n-th of the model's sigmas, from the highest."""
    count = len(span.model_sigmas)
    return (*(span.model_sigmas[count - 1 - int(i * (count / steps))] for i in range(steps)), 0.0)


def _ddim(steps: int, span: Span) -> tuple[float, ...]:
    """Every n-th of the model's sigmas, from the second lowest up; for odd numbers of steps that is some more than asked for."""
    stride = max(1, len(span.model_sigmas) // steps)
    return (*reversed(span.model_sigmas[1::stride]), 0.0)


def _beta(steps: int, span: Span) -> tuple[float, ...]:
    """Quantiles of a beta distribution over [low, high] (Lee et al. 2024, arXiv:2407.12173)."""
    from scipy.special import betaincinv

    quantiles = (float(betaincinv(span.beta_alpha, span.beta_beta, q)) for q in _line(1.0, 0.0, steps))
    return (*(span.low + q * (span.high - span.low) for q in quantiles), 0.0)


def _turbo(steps: int, span: Span) -> tuple[float, ...]:
    """The model's sigmas at the last timestep of each of `steps` equal stretches."""
    count = len(span.model_sigmas)
    times = (round(count / steps * (steps - i) - 1) for i in range(steps))
    return (*(span.model_sigmas[min(max(t, 0), count - 1)] for t in times), 0.0)


def _table(sd1: Sequence[float], sdxl: Sequence[float]) -> Spacing:
    """A fixed table, interpolated evenly in log sigma for other numbers of steps."""

    def spacing(steps: int, span: Span) -> tuple[float, ...]:
        table = sdxl if span.sdxl else sd1
        return (*(sigma_at(t, table) for t in _line(0, len(table) - 1, steps)), 0.0)

    return spacing


Spacing = Callable[[int, Span], tuple[float, ...]]

# Sabour et al. 2024, arXiv:2404.14507 ("Align Your Steps"); Chen et al. 2024, arXiv:2405.11326 (GITS).
_AYS_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
_AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
_GITS_SD1 = (14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029)
_GITS_SDXL = (14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029)

_AYS_32_SD1 = (
    *(14.615, 11.2395135, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466, 2.79228788, 2.48773628),
    *(2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497, 1.03475547, 0.915737, 0.80748169, 0.71202361),
    *(0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819, 0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015),
)
_AYS_32_SDXL = (
    *(14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457, 2.74396527, 2.29968659, 1.95448514),
    *(1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443, 0.80290886, 0.69660121, 0.60436903, 0.52852552, 0.46773344),
    *(0.41393379, 0.36258186, 0.31008517, 0.26518925, 0.22326461, 0.17653877, 0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015),
)

SPACINGS: Mapping[str, Spacing] = MappingProxyType(
    {
        "uniform": uniform,
        "karras": _karras,
        "exponential": _exponential,
        "polyexponential": _polyexponential,
        "sgm_uniform": _sgm_uniform,
        "kl_optimal": _kl_optimal,
        "align_your_steps": _table(_AYS_SD1, _AYS_SDXL),
        "simple": _simple,
        "normal": _normal,
        "ddim": _ddim,
        "beta": _beta,
        "turbo": _turbo,
        "align_your_steps_GITS": _table(_GITS_SD1, _GITS_SDXL),
        "align_your_steps_11": _table(_AYS_SD1, _AYS_SDXL),
        "align_your_steps_32": _table(_AYS_32_SD1, _AYS_32_SDXL),
    }
)


def ddim_timesteps(steps: int, model_sigmas: Sequence[float]) -> tuple[float, ...]:
    """DDIM's levels: those of the timesteps 1, 1 + n/steps, … in falling order. There is no 0: the walk ends at the first of them."""
    count = len(model_sigmas)
    times = [min(t + 1, count - 1) for t in range(0, count, max(1, count // steps))]
    return tuple(model_sigmas[t] for t in reversed(times))


def unipc_timesteps(
    steps: int, model_sigmas: Sequence[float], first: float | None = None, *, skip: str = TIME_UNIFORM
) -> tuple[float, ...]:
    """UniPC's levels from timestep `first` (the last one) to 0, between which log alpha is linear. `skip` (of `UNIPC_SKIPS`) spaces them
    evenly by timestep, by its root, or by log sigma."""
    count = len(model_sigmas)
    log_alphas = [-math.log1p(sigma**2) / 2 for sigma in model_sigmas]

    def level(t: float) -> float:
        low = min(int(t), count - 2)
        return math.sqrt(math.expm1(-2 * (log_alphas[low] + (t - low) * (log_alphas[low + 1] - log_alphas[low]))))

    start = count - 1 if first is None else first
    if skip == "logSNR":
        return tuple(math.exp(log) for log in _line(math.log(level(start)), math.log(level(0)), steps + 1))
    if skip == "time_quadratic":
        # the paper's times are 1/count … 1
        return tuple(level(max(root**2 - 1, 0.0)) for root in _line(math.sqrt(start + 1), 1.0, steps + 1))
    return tuple(level(t) for t in _line(start, 0, steps + 1))


TIMESTEP_RULES = ("ddim", "unipc")


def _line(start: float, end: float, count: int) -> list[float]:
    """`count` numbers evenly from `start` to `end`; only `start` for one."""
    return [start + (end - start) * (i / (count - 1)) for i in range(count)] if count > 1 else [start]


def sigma_at(t: float, model_sigmas: Sequence[float]) -> float:
    """The noise level at a fractional timestep: linear in log sigma between neighbours."""
    return _level_at(t, [math.log(sigma) for sigma in model_sigmas])


def _level_at(t: float, logs: Sequence[float]) -> float:
    low = max(0, min(int(t), len(logs) - 1))
    high = min(low + 1, len(logs) - 1)
    part = min(max(t - low, 0.0), 1.0)
    return math.exp((1 - part) * logs[low] + part * logs[high])


def _timestep_at(sigma: float, logs: Sequence[float]) -> float:
    """The inverse of `_level_at`, clamped to the model's range."""
    wanted = math.log(sigma)
    index = bisect_left(logs, wanted)
    if index <= 0:
        return 0.0
    if index >= len(logs):
        return float(len(logs) - 1)
    return index - 1 + (wanted - logs[index - 1]) / (logs[index] - logs[index - 1])
