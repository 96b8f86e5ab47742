"""How does the first pass' result become the start of the second? Enlarged as latents, or as a picture that is encoded again."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modules.domain.plans import HiresPlan, ImagePlan, UpscalerPlan
from modules.engine.generate import decode
from modules.families.base import LoadedModel
from modules.upscalers.resize import Pixels, resized

ByModel = Callable[[Pixels, tuple[int, int], UpscalerPlan], Pixels]
"""Enlarges a picture to (width, height) with an upscaler model: `engine.upscale.Upscaling`."""

_LATENT_MODES = MappingProxyType(
    {
        "Latent": ("bilinear", False),
        "Latent (antialiased)": ("bilinear", True),
        "Latent (bicubic)": ("bicubic", False),
        "Latent (bicubic antialiased)": ("bicubic", True),
        "Latent (nearest)": ("nearest", False),
        "Latent (nearest-exact)": ("nearest-exact", False),
    }
)
"""Interpolation and whether it is antialiased, by `LATENT_UPSCALERS`."""


@torch.inference_mode()
def enlarged(latents: Tensor, plan: ImagePlan, hires: HiresPlan, model: LoadedModel, by_model: ByModel) -> Tensor:
    """Finished latents (B, C, H, W) of `plan` -> latents of the second pass' size.

    Raises `NotANumber` where a picture can't be decoded, and what `by_model` raises.
    """
    if hires.upscaler in _LATENT_MODES:
        mode, antialias = _LATENT_MODES[hires.upscaler]
        size = model.latent_shape(*hires.enlarged)[1:]
        larger = F.interpolate(latents, size=size, mode=mode, antialias=antialias)
    else:
        pictures = [_enlarged_picture(decode(plan, model, latent), hires, by_model) for latent in latents]
        larger = torch.stack([model.encode_picture(np.asarray(picture)) for picture in pictures])
    height, width = model.latent_shape(hires.second.width, hires.second.height)[1:]
    return _middle(larger, height, width)


def _enlarged_picture(picture: Pixels, hires: HiresPlan, by_model: ByModel) -> Pixels:
    if hires.upscaler_model is None:
        return resized(picture, hires.enlarged, hires.upscaler)
    return by_model(picture, hires.enlarged, hires.upscaler_model)


def _middle(latents: Tensor, height: int, width: int) -> Tensor:
    """The middle (B, C, height, width), where there is more than that; of an odd rest the larger part goes from the end."""
    top, left = (latents.shape[2] - height) // 2, (latents.shape[3] - width) // 2
    return latents[:, :, top : top + height, left : left + width]
