"""UniPC (Zhao et al. 2023, arXiv:2302.04867), predicting x0: every network call also corrects the step that led to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from modules.sampling.timestep_samplers import scaled
from modules.sampling.types import Denoiser, NoiseSource, StepCallback

VARIANTS = ("bh1", "bh2", "vary_coeff")
"""B(h) = h, B(h) = e^h - 1, and coefficients that vary with the step: the paper's section 3 and its appendix C."""


def unipc(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    on_step: StepCallback,
    *,
    unipc_variant: str = "bh1",
    unipc_order: int = 3,
    unipc_lower_order_final: bool = True,
) -> Tensor:
    """`unipc_order` is the predictor's; with `unipc_lower_order_final` it falls at the end, where few steps are left."""
    last = len(sigmas) - 1
    x0 = denoise(x, sigmas[0])
    on_step(0, x, sigmas[0], x0)
    known = [(sigmas[0], x0)]
    for i in range(1, last + 1):
        order = min(unipc_order, i, last + 1 - i if unipc_lower_order_final else i)
        step = _Step(x, sigmas[i], known[:order], unipc_variant)
        x = step.predicted()
        if i < last:
            x0 = denoise(x, sigmas[i])
            on_step(i, x, sigmas[i], x0)
            x = step.corrected(x0)
            known = [(sigmas[i], x0), *known[: unipc_order - 1]]
    return scaled(x, sigmas[-1])


class _Step:
    """One step to `sigma` from x, given the x0 of the last levels, newest first (as many as the order)."""

    def __init__(self, x: Tensor, sigma: float, known: Sequence[tuple[float, Tensor]], variant: str) -> None:
        (start, self._x0), *older = known
        self._variant = variant
        self._h = -math.log(start / sigma)
        self._base = x * (sigma / start) - self._x0 * math.expm1(self._h)
        self._ratios = [math.log(start / level) / -self._h for level, _ in older]
        self._slopes = [(x0 - self._x0) / ratio for (_, x0), ratio in zip(older, self._ratios, strict=True)]

    def predicted(self) -> Tensor:
        """x at the new level from what is known."""
        return self._with(self._slopes, self._factors(self._ratios, last=False))

    def corrected(self, x0: Tensor) -> Tensor:
        """x at the new level now that its x0 is known, too."""
        return self._with([*self._slopes, x0 - self._x0], self._factors([*self._ratios, 1.0], last=True))

    def _with(self, slopes: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
        x = self._base
        for slope, factor in zip(slopes, factors, strict=True):
            x = x - slope * factor
        return x

    def _factors(self, ratios: Sequence[float], *, last: bool) -> list[float]:
        """What each slope counts; `last` where the step's own x0 is the last of them."""
        if not ratios:
            return []
        return self._varying(ratios, last) if self._variant == "vary_coeff" else self._fixed(ratios)

    def _fixed(self, ratios: Sequence[float]) -> list[float]:
        """The factors that make the step exact for polynomials (eq. 10): a small Vandermonde system. For one slope it is taken as 1/2."""
        scale = self._h if self._variant == "bh1" else math.expm1(self._h)
        if len(ratios) == 1:
            return [0.5 * scale]
        phis = self._phis(len(ratios))
        rows = np.array([[ratio**power for ratio in ratios] for power in range(len(ratios))])
        targets = np.array([phi * math.factorial(power + 1) for power, phi in enumerate(phis[1:])])
        return [float(factor) for factor in np.linalg.solve(rows, targets)]

    def _varying(self, ratios: Sequence[float], last: bool) -> list[float]:
        """The factors of the appendix. Of the newest slope only the highest term is counted, as in the published program."""
        count = len(ratios)
        inverse = np.linalg.inv(np.array([[ratio**power / math.factorial(power + 1) for power in range(count)] for ratio in ratios]))
        phis = np.array(self._phis(count)[1:])
        if not last:
            return _floats(phis @ inverse)
        newest = inverse[max(count - 2, 0), -1] * phis[-1]
        return [*_floats(phis[:-1] @ inverse[:-1, :-1]), float(newest)]

    def _phis(self, count: int) -> list[float]:
        """phi_1 … phi_(count + 1) of h, each times h."""
        phis = [math.expm1(self._h)]
        for k in range(1, count + 1):
            phis.append(phis[-1] / self._h - 1 / math.factorial(k))
        return phis


def _floats(numbers: npt.NDArray[np.float64]) -> list[float]:
    return [float(number) for number in numbers]
