"""How does a start picture become latents, and what of the finished ones is put back into it? For one batch, on the model's device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from modules.domain.errors import NotANumber
from modules.domain.img2img import SoftInpainting
from modules.domain.plans import ImagePlan, StartPlan
from modules.engine.canvas import Canvas, in_source
from modules.engine.generate import StartLatents, unit_noise
from modules.engine.soft_inpainting import changed_mask
from modules.families.base import LoadedModel


@torch.inference_mode()
def start_latents(plan: ImagePlan, start: StartPlan, canvas: Canvas, model: LoadedModel) -> StartLatents:
    """What the batch begins from. Raises `NotANumber` where the autoencoder gives none."""
    pixels = np.asarray(canvas.picture)
    height, width = model.latent_shape(plan.width, plan.height)[1:]
    encoded = _finite(plan, model, lambda: model.encode_picture(pixels)).unsqueeze(0)
    if start.resize_mode == "latent" and encoded.shape[2:] != (height, width):
        encoded = F.interpolate(encoded, size=(height, width), mode="bilinear")
    beside = _beside(plan, start, canvas, model)
    if canvas.mask is None or start.inpaint is None:
        return StartLatents(encoded.repeat(plan.batch_size, 1, 1, 1), None, beside)
    mask = latent_mask(canvas.mask, (width, height), rounded=start.inpaint.soft is None).to(model.device)
    content = start.inpaint.content
    if content == "latent_noise":
        encoded = torch.lerp(encoded, unit_noise(plan, model), mask)
    elif content == "latent_nothing":
        encoded = encoded * (1 - mask)
    latents = encoded if len(encoded) == plan.batch_size else encoded.repeat(plan.batch_size, 1, 1, 1)
    return StartLatents(latents, mask, beside)


def latent_mask(mask: Image.Image, size: tuple[int, int], *, rounded: bool) -> Tensor:
    """(1, 1, H, W) from 0 to 1, of `size` (width, height) in latents; `rounded`: all or nothing, since a latent is many pixels."""
    small = np.asarray(mask.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    return torch.from_numpy(np.rint(small) if rounded else small.copy())[None, None]


def _beside(plan: ImagePlan, start: StartPlan, canvas: Canvas, model: LoadedModel) -> Tensor | None:
    """What an inpainting network is shown of the picture, all of which is to be drawn where there is no mask; None for other networks."""
    if not model.facts.is_inpainting:
        return None
    size = (plan.width, plan.height)
    picture = canvas.picture if canvas.picture.size == size else canvas.picture.resize(size, Image.Resampling.LANCZOS)
    shares = torch.ones(size[::-1]) if canvas.mask is None else torch.from_numpy(np.asarray(canvas.mask, dtype=np.float32) / 255)
    hole = (shares if start.inpaint and start.inpaint.soft else shares.round()).numpy()
    weight = 1.0 if start.conditional_weight is None else start.conditional_weight
    pixels = np.asarray(picture)
    return _finite(plan, model, lambda: model.masked_picture(pixels, hole, weight))


def _finite(plan: ImagePlan, model: LoadedModel, encode: Callable[[], Tensor]) -> Tensor:
    """What `encode` gives, tried again in float32 where the plan says so."""
    latent = encode()
    if plan.vae_retry_float32 and not bool(torch.isfinite(latent).all()) and model.widen_autoencoder():
        latent = encode()
    if not bool(torch.isfinite(latent).all()):
        raise NotANumber("The VAE gave numbers that are not finite for the start picture. Start with --no-half-vae, or choose another VAE.")
    return latent


def soft_overlays(soft: SoftInpainting, begin: StartLatents, latents: Tensor, canvas: Canvas) -> list[Image.Image]:
    """For each of the finished latents (B, C, H, W) the mask (L, of the source's size) by which it replaces its source."""
    if begin.mask is None or canvas.mask is None or canvas.source is None:
        return []
    distances = torch.linalg.vector_norm(latents - begin.latents, dim=1).float().cpu().numpy()
    mask = begin.mask[0, 0].float().cpu().numpy()
    masks = [changed_mask(soft, distance, mask, canvas.mask.size) for distance in distances]
    return [in_source(mask, canvas.region, canvas.source.size) for mask in masks]
