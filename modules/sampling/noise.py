"""Where does the randomness of a picture come from? Seeds in, noise tensors out, the same on every machine and in every batch.

Each image owns a generator, so its place in the batch never changes it. Knows no models and no settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from modules.sampling.brownian import BrownianPath
from modules.sampling.philox import PhiloxGenerator

Shape = tuple[int, int, int]

SOURCES = ("gpu", "cpu", "nv")


class _Generator(Protocol):
    """One image's stream of unit noise."""

    def randn(self, shape: Shape) -> Tensor: ...


class _TorchGenerator:
    """PyTorch's own generator on `device`; the same seed gives other numbers on a CPU than on a GPU."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def randn(self, shape: Shape) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._device)


class _NvGenerator:
    """What an NVIDIA card draws, on any machine."""

    def __init__(self, seed: int) -> None:
        self._generator = PhiloxGenerator(seed)

    def randn(self, shape: Shape) -> Tensor:
        return torch.from_numpy(self._generator.randn(math.prod(shape))).reshape(shape)


class SeededNoise:
    """A `NoiseSource` for images of `shape` (C, H, W), one seed each, on `device`.

    `source`: "gpu" (the device's own generator), "cpu" (PyTorch's CPU generator wherever the model is) or "nv" (NVIDIA's Philox on any
    machine). `variation_seeds` are mixed in with `variation_strength` 0..1 (spherical interpolation). `resize_from` is the latent size
    (h, w) whose noise is placed in the middle, so that a seed keeps its composition at another size. `seed_delta` (A1111's ENSD) is added
    to the seeds of all draws after the first.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Shape,
        device: torch.device | str,
        *,
        source: str = "gpu",
        variation_seeds: Sequence[int] = (),
        variation_strength: float = 0.0,
        resize_from: tuple[int, int] | None = None,
        seed_delta: int = 0,
    ) -> None:
        if source not in SOURCES:
            raise ValueError(f"noise source {source!r} is none of {SOURCES}")
        self._seeds = tuple(seeds)
        self._shape = shape
        self._device = torch.device(device)
        self._source = source
        # Apple's GPUs have no generator of their own here: A1111 draws on the CPU there, and so do we.
        on_device = source == "gpu" and self._device.type != "mps"
        self._origin = self._device if on_device else torch.device("cpu")
        self._variations = tuple(variation_seeds)
        self._strength = variation_strength
        self._inner = (shape[0], *resize_from) if resize_from and all(resize_from) else shape
        self._seed_delta = seed_delta
        self._generators = [self._generator(seed) for seed in self._seeds]

    def first(self) -> Tensor:
        """The unit noise (B, C, H, W) that the trajectory starts from; call it once, before any `draw`."""
        images = [self._first_of(index) for index in range(len(self._seeds))]
        if self._seed_delta:
            self._generators = [self._generator(seed + self._seed_delta) for seed in self._seeds]
        return self._stack(images)

    def draw(self) -> Tensor:
        """The next unit noise (B, C, H, W)."""
        return self._stack([generator.randn(self._shape) for generator in self._generators])

    def brownian(self, sigma_min: float, sigma_max: float) -> Callable[[float, float], Tensor]:
        """A Brownian path per image over [sigma_min, sigma_max]: `(sigma, sigma_next)` -> its increment with unit variance.

        The path depends on the seed and the interval alone, not on where it is asked for.
        """
        paths = [BrownianPath(sigma_min, sigma_max, seed, self._unit) for seed in self._seeds]

        def increment(sigma: float, sigma_next: float) -> Tensor:
            low, high = sorted((sigma, sigma_next))
            scale = (1.0 if sigma < sigma_next else -1.0) / math.sqrt(high - low)
            return self._stack([path.increment(low, high) * scale for path in paths])

        return increment

    def _unit(self, seed: int) -> Tensor:
        return self._generator(seed).randn(self._shape)

    def _generator(self, seed: int) -> _Generator:
        if self._source == "nv":
            return _NvGenerator(seed)
        return _TorchGenerator(seed, self._origin)

    def _first_of(self, index: int) -> Tensor:
        seed, generator = self._seeds[index], self._generators[index]
        inner = self._inner
        noise = generator.randn(inner) if inner == self._shape else self._generator(seed).randn(inner)
        if self._strength and index < len(self._variations):
            noise = slerp(noise, self._generator(self._variations[index]).randn(inner), self._strength)
        return noise if inner == self._shape else _centred(noise, generator.randn(self._shape))

    def _stack(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images).to(self._device)


def slerp(low: Tensor, high: Tensor, part: float) -> Tensor:
    """Spherical interpolation of two noises (C, H, W), row by row along H as A1111 does it; near-parallel ones are mixed linearly."""
    dot = (low / torch.norm(low, dim=1, keepdim=True) * (high / torch.norm(high, dim=1, keepdim=True))).sum(1)
    if dot.mean() > 0.9995:
        return low * part + high * (1 - part)
    omega = torch.acos(dot)
    sine = torch.sin(omega)
    return (torch.sin((1.0 - part) * omega) / sine).unsqueeze(1) * low + (torch.sin(part * omega) / sine).unsqueeze(1) * high


def _centred(inner: Tensor, outer: Tensor) -> Tensor:
    """`outer` (C, H, W) with `inner` (C, h, w) laid over its middle, cropped where it is larger."""
    (height, width), (h, w) = outer.shape[1:], inner.shape[1:]
    dy, dx = (height - h) // 2, (width - w) // 2
    rows, columns = (h if dy >= 0 else h + 2 * dy), (w if dx >= 0 else w + 2 * dx)
    top, left, skip_y, skip_x = max(dy, 0), max(dx, 0), max(-dy, 0), max(-dx, 0)
    outer[:, top : top + rows, left : left + columns] = inner[:, skip_y : skip_y + rows, skip_x : skip_x + columns]
    return outer
