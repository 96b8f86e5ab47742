"""What is a sampler, and what does it need? The contracts between the network, the noise and the numerical method.

One coordinate system everywhere in this folder: `x` is x_t / alpha and `sigma` is the noise-to-signal ratio sigma_t / alpha_t, so that
`x = x0 + sigma * noise`. Whoever owns a network maps in and out of it. Nothing here knows of models, prompts, settings or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


class Denoiser(Protocol):
    """The posterior mean E[x0 | x]: (B, C, H, W) at noise level `sigma` -> x0 of the same shape. `sigma` is a Python float > 0."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@runtime_checkable
class SplitDenoiser(Protocol):
    """A guided denoiser that can also say what the network predicts without the prompt (CFG++ samplers renoise with that)."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """(guided x0, unconditional x0) in one evaluation, each of x's shape."""
        ...


StepCallback = Callable[[int, Tensor, float, Tensor], None]
"""`(i, x, sigma, denoised)`: called once a sampler step, i from 0, after the step's network call. It may raise to stop the sampler."""


class NoiseSource(Protocol):
    """The randomness of one batch: every image has its own generator, so its place in the batch never changes it. All float32."""

    def first(self) -> Tensor:
        """The unit noise (B, C, H, W) that the trajectory starts from. To be called once, before any `draw`."""
        ...

    def draw(self) -> Tensor:
        """The next unit noise (B, C, H, W), as an ancestral sampler adds it."""
        ...

    def brownian(self, sigma_min: float, sigma_max: float) -> Callable[[float, float], Tensor]:
        """Brownian motion over [sigma_min, sigma_max]: `(sigma, sigma_next)` -> its increment scaled to unit variance."""
        ...


class Sampler(Protocol):
    """A numerical method as a pure function.

    `x` is the start at noise level sigmas[0], `sigmas` fall (most end in 0.0), `params` are the ones that the registry row names.
    Returns x0, the finished latent, of x's shape.
    """

    def __call__(
        self, denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, on_step: StepCallback, **params: Any
    ) -> Tensor: ...
