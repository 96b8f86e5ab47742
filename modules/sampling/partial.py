"""Where does a walk begin that starts from a picture instead of noise? The part of the schedule that is walked, and its first x.

A1111's rule, which pictures depend on. Knows no models, encoders or masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from modules.sampling.registry import SamplerRow
from modules.sampling.sigmas import TIME_UNIFORM, falling, unipc_timesteps

MAX_STRENGTH = 0.999
"""The strength that 1 counts as."""


@dataclass(frozen=True, slots=True)
class PartialWalk:
    """`sigmas` fall to the picture; `level` is the noise level that the latent is brought to before the walk."""

    sigmas: tuple[float, ...]
    level: float
    variance_preserving: bool = False

    def start(self, latent: Tensor, noise: Tensor, extra_noise: float = 0.0) -> Tensor:
        """x (B, C, H, W) at the walk's beginning from latents and unit noise of that shape; `extra_noise` is A1111's of that name."""
        x = latent + noise * (self.level + extra_noise)
        if self.variance_preserving:
            # timestep samplers are handed x_t of one level and take it for x_t of the level below
            x = x * (input_scale(self.level) / input_scale(self.sigmas[0]))
        return x


def input_scale(sigma: float) -> float:
    """alpha of a noise level, in the variance preserving view."""
    return 1.0 / math.sqrt(1.0 + sigma * sigma)


def steps_to_schedule(steps: int, strength: float) -> int:
    """How many steps the whole schedule gets so that `steps` of them are left to walk at this denoising strength."""
    return int(steps / min(strength, MAX_STRENGTH)) if strength > 0 else 0


def kept_steps(steps: int, strength: float) -> int:
    """How many of a schedule's `steps`, less one, are walked at this denoising strength: the rule where their number is not exact."""
    return int(min(strength, MAX_STRENGTH) * steps)


def partial_walk(
    row: SamplerRow,
    scheduled: int,
    kept: int,
    whole: Callable[[int], tuple[float, ...]],
    model_sigmas: tuple[float, ...],
    *,
    unipc_skip: str = TIME_UNIFORM,
) -> PartialWalk | None:
    """The last `kept` + 1 of `scheduled` steps, or None where nothing is left to walk; `whole(n)` is the schedule of n steps.

    Timestep samplers walk one step less, from one timestep below the level that the picture is noised to.
    """
    sigmas = whole(scheduled)
    if not row.variance_preserving:
        # a schedule that takes the model's own levels ends with them, however many steps are asked for
        left = sigmas[max(0, min(scheduled, len(sigmas) - 1) - kept - 1) :]
        return PartialWalk(falling(left, row), left[0])
    rising = _timesteps(scheduled, model_sigmas)
    kept = min(kept, len(rising) - 1)
    if kept < 1:
        return None
    level, first = model_sigmas[rising[kept]], rising[kept - 1]
    if row.timestep_rule == "unipc":
        return PartialWalk(unipc_timesteps(kept, model_sigmas, first, skip=unipc_skip), level, True)
    return PartialWalk(tuple(model_sigmas[t] for t in reversed(rising[:kept])), level, True)


def _timesteps(steps: int, model_sigmas: tuple[float, ...]) -> list[int]:
    """The rising timesteps that such samplers count their start in."""
    count = len(model_sigmas)
    return [min(t + 1, count - 1) for t in range(0, count, max(1, count // steps))]
