"""When does a refiner take over? A1111's rule, by the noise level. Which model it is and how it is lent is the engine's business."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from modules.domain.plans import ModelSpec
from modules.families.base import LoadedModel

Refine = Callable[[ModelSpec], LoadedModel]
"""Lends the refiner's model until the batch is done."""


def share_done(sigma: float, model_sigmas: Sequence[float]) -> float:
    """How much of the way from noise (0) to picture (1) lies behind, by the model's timestep nearest to a noise level."""
    nearest = min(range(len(model_sigmas)), key=lambda t: math.fabs(model_sigmas[t] - sigma))
    last = len(model_sigmas) - 1
    return (last - nearest) / len(model_sigmas)
