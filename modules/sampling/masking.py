"""How does part of a picture stay while the rest is drawn? Denoisers that mix what the network predicts with what is to be kept.

Masks are (1, 1, H, W) or (B, 1, H, W) from 0 (kept) to 1 (drawn). Knows no pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.sampling.types import SplitDenoiser

Mix = Callable[[Tensor, float], Tensor]
"""`(x0 (B, C, H, W), sigma) -> x0`: a prediction with what is kept put back into it."""

_TINY = 1e-5


class Masked:
    """A `SplitDenoiser` whose predictions go through `mix`. The samplers' noise is left alone: only x0 is put back, as in A1111."""

    def __init__(self, inner: SplitDenoiser, mix: Mix) -> None:
        self._inner = inner
        self._mix = mix

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self._mix(self._inner(x, sigma), sigma)

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        guided, unguided = self._inner.split(x, sigma)
        return self._mix(guided, sigma), self._mix(unguided, sigma)


@dataclass(frozen=True, slots=True)
class HardMix:
    """`kept` (B, C, H, W) where the mask is 0, x0 where it is 1, both to the last bit."""

    kept: Tensor
    mask: Tensor

    def __call__(self, x0: Tensor, sigma: float) -> Tensor:
        return torch.lerp(self.kept, x0, self.mask.expand_as(x0))


@dataclass(frozen=True, slots=True)
class SoftMix:
    """Soft inpainting (A1111's extension): a pixel is drawn the more freely, the brighter its mask is and the less noise is left."""

    kept: Tensor
    mask: Tensor
    bias: float
    strength: float
    contrast: float

    def __call__(self, x0: Tensor, sigma: float) -> Tensor:
        return blended(self.kept, x0, self.mask ** (sigma**self.bias * self.strength), self.contrast)


def blended(first: Tensor, second: Tensor, share: Tensor, contrast: float) -> Tensor:
    """first + share * (second - first), (B, C, H, W), but with lengths over C that are mixed by themselves.

    They are mixed as powers of `contrast`, which favours the longer one: a plain mean of two latents is shorter than both, and grey.
    """
    mixed = torch.lerp(first, second, share.expand_as(first))
    # large powers need the range of float64, which Apple's GPUs do not have
    wide = torch.float32 if first.device.type == "mps" else torch.float64
    before, after = (torch.linalg.vector_norm(each, dim=1, keepdim=True).to(wide) ** contrast for each in (first, second))
    wanted = torch.lerp(before, after, share.to(wide)) ** (1 / contrast)
    found = torch.linalg.vector_norm(mixed, dim=1, keepdim=True).to(wide) + _TINY
    return mixed * (wanted / found).to(mixed.dtype)
