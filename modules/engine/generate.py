"""How does a plan become pictures? Noise, levels, guidance, sampler, decoder, in that order, for one batch.

It knows no jobs, events or files; whoever calls it watches through `on_step`, which may raise to stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modules.domain.errors import InvalidRequest, NotANumber
from modules.domain.plans import HiresPlan, ImagePlan, SamplerOptions, StartPlan
from modules.engine.conditioning import conditionings
from modules.engine.refiner import Refine, share_done
from modules.families.base import Conditioning, LoadedModel
from modules.sampling.guidance import Guidance, Relay
from modules.sampling.masking import HardMix, Masked, Mix, SoftMix
from modules.sampling.noise import SeededNoise
from modules.sampling.partial import kept_steps, partial_walk, steps_to_schedule
from modules.sampling.registry import SAMPLERS, SamplerRow
from modules.sampling.sigmas import falling, schedule_sigmas
from modules.sampling.types import SplitDenoiser, StepCallback

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3)."""


@dataclass(frozen=True, slots=True)
class StartLatents:
    """What a batch begins from instead of noise: latents (B, C, H, W); where there is a mask (1, 1, H, W), 1 where it is drawn; and, for
    inpainting networks, what they read beside x, (1 + C, H, W)."""

    latents: Tensor
    mask: Tensor | None = None
    beside: Tensor | None = None


@torch.inference_mode()
def sample(plan: ImagePlan, model: LoadedModel, on_step: StepCallback, refine: Refine | None = None) -> Tensor:
    """The batch's finished latents (B, C, H, W), float32. Raises `NotANumber` where they are not finite, and whatever `on_step` raises.

    `refine` is needed by plans with a refiner only.
    """
    row = SAMPLERS[plan.sampler]
    model = _with_levels(plan, model)
    noise = _noise(plan, model)
    sigmas = falling(plan_sigmas(plan, row, plan.steps, model), row)
    noisier = row.variance_preserving or plan.options.sgm_noise
    start = noise.first() * (math.sqrt(1.0 + sigmas[0] ** 2) if noisier else sigmas[0])
    return _walk(plan, model, start, sigmas, noise, partial(_guidance, plan), on_step, refine)


@torch.inference_mode()
def sample_second(
    first: ImagePlan, hires: HiresPlan, model: LoadedModel, latents: Tensor, on_step: StepCallback, refine: Refine | None = None
) -> Tensor:
    """The second pass' finished latents (B, C, H, W) from the enlarged ones of that size. Raises as `sample` does."""
    plan = hires.second
    row = SAMPLERS[plan.sampler]
    scheduled = steps_to_schedule(plan.steps, hires.denoising_strength)
    if scheduled == 0:
        return latents
    model = _with_levels(plan, model)
    walk = partial_walk(
        row, scheduled, plan.steps - 1, lambda steps: plan_sigmas(plan, row, steps, model), model.sigmas, unipc_skip=plan.options.unipc_skip
    )
    if walk is None:
        return latents
    noise = _noise(plan, model)
    start = walk.start(latents, noise.first(), plan.options.extra_noise)
    return _walk(plan, model, start, walk.sigmas, noise, partial(_guidance, plan, calls_in_first=_calls(first)), on_step, refine)


@torch.inference_mode()
def sample_from(
    plan: ImagePlan, start: StartPlan, begin: StartLatents, model: LoadedModel, on_step: StepCallback, refine: Refine | None = None
) -> Tensor:
    """The finished latents (B, C, H, W) of a batch that begins from a picture. Raises as `sample` does."""
    row = SAMPLERS[plan.sampler]
    model = _with_levels(plan, model)
    strength = start.denoising_strength
    scheduled = steps_to_schedule(plan.steps, strength) if start.exact_steps else plan.steps
    kept = plan.steps - 1 if start.exact_steps else kept_steps(plan.steps, strength)
    if scheduled == 0:
        return begin.latents
    walk = partial_walk(
        row, scheduled, kept, lambda steps: plan_sigmas(plan, row, steps, model), model.sigmas, unipc_skip=plan.options.unipc_skip
    )
    if walk is None:
        return begin.latents
    noise = _noise(plan, model)
    x = walk.start(begin.latents, noise.first() * start.noise_multiplier, plan.options.extra_noise)
    mix = _mix(start, begin)
    guided = partial(_guidance, plan, beside=begin.beside)
    latents = _walk(plan, model, x, walk.sigmas, noise, guided, on_step, refine, mix)
    # the last step of some samplers adds noise, or ends above 0
    return mix(latents, 0.0) if isinstance(mix, HardMix) else latents


def _mix(start: StartPlan, begin: StartLatents) -> Mix | None:
    """How what is kept gets back into each prediction; None where nothing is kept."""
    if begin.mask is None or start.inpaint is None:
        return None
    soft = start.inpaint.soft
    if soft is None:
        return HardMix(begin.latents, begin.mask)
    return SoftMix(begin.latents, begin.mask, soft.schedule_bias, soft.preservation_strength, soft.transition_contrast_boost)


def _walk(
    plan: ImagePlan,
    model: LoadedModel,
    start: Tensor,
    sigmas: tuple[float, ...],
    noise: SeededNoise,
    guided: Callable[[LoadedModel, int], Guidance[Conditioning]],
    on_step: StepCallback,
    refine: Refine | None,
    mix: Mix | None = None,
) -> Tensor:
    """From x at sigmas[0] to finished latents, both (B, C, H, W); `guided(model, n)` is the guidance of a model after n calls."""
    row = SAMPLERS[plan.sampler]
    denoise: SplitDenoiser = guided(model, 0)
    refiner = plan.refiner
    if refiner is not None and refine is not None:
        denoise = Relay(
            denoise,
            lambda sigma: share_done(sigma, model.sigmas) > refiner.switch_at,
            lambda calls: guided(refine(refiner.model), calls),
        )
    if mix is not None:
        denoise = Masked(denoise, mix)
    latents = row.load()(denoise, start, sigmas, noise, on_step, **_parameters(plan, row))
    if not bool(torch.isfinite(latents).all()):
        raise NotANumber(
            "The network gave numbers that are not finite, so there is no picture. Start with --no-half, or try another checkpoint."
        )
    return latents


def _guidance(
    plan: ImagePlan, model: LoadedModel, before: int, calls_in_first: int | None = None, beside: Tensor | None = None
) -> Guidance[Conditioning]:
    """A model's predictions along the plan's prompts, of which `before` network calls are behind."""
    row = SAMPLERS[plan.sampler]
    calls = _calls(plan)
    at_call = conditionings(plan, model, calls, calls_in_first)
    return Guidance(
        partial(model.predict, beside=beside),
        lambda call: at_call(before + call),
        plan.cfg_scale * row.guidance_factor,
        key=lambda cond: cond.key,
        batched=plan.batch_guidance,
        always_negative=row.needs_uncond,
        skips_negative=lambda call, sigma: _skips_negative(plan.options, calls, before + call, sigma),
    )


def _skips_negative(options: SamplerOptions, calls: int, call: int, sigma: float) -> bool:
    """Whether the n-th network call (from 0) of `calls` goes without the negative prompt: A1111's two ways to save time."""
    if options.skip_early_negative and call / calls <= options.skip_early_negative:
        return True
    return sigma < options.min_negative_sigma and (options.min_negative_sigma_all or call % 2 == 1)


def unit_noise(plan: ImagePlan, model: LoadedModel) -> Tensor:
    """The noise (B, C, H, W) of the plan's seeds alone, without variations."""
    noise = SeededNoise(plan.seeds, model.latent_shape(plan.width, plan.height), model.device, source=plan.noise_source)
    return noise.first()


def _calls(plan: ImagePlan) -> int:
    """How many network calls the plan's prompt timelines are laid out over."""
    return plan.steps * (2 if SAMPLERS[plan.sampler].second_order else 1)


def _noise(plan: ImagePlan, model: LoadedModel) -> SeededNoise:
    return SeededNoise(
        plan.seeds,
        model.latent_shape(plan.width, plan.height),
        model.device,
        source=plan.noise_source,
        variation_seeds=plan.variation_seeds,
        variation_strength=plan.variation_strength,
        resize_from=_latent_size(plan.seed_resize_from, model),
        seed_delta=plan.noise_offset_seed,
    )


@torch.inference_mode()
def decode(plan: ImagePlan, model: LoadedModel, latent: Tensor, *, tiled: bool = False) -> Pixels:
    """The picture of a finished latent (C, H, W). NaN is tried again in float32 where the plan says so, then `NotANumber`."""
    tiled = tiled or plan.vae_tiles == "always"
    pixels = model.decode_latent(latent, tiled=tiled)
    if pixels is None and plan.vae_retry_float32 and model.widen_autoencoder():
        pixels = model.decode_latent(latent, tiled=tiled)
    if pixels is None:
        raise NotANumber(
            "The VAE gave numbers that are not finite, so there is no picture. Start with --no-half-vae, or choose another VAE."
        )
    return pixels


def _with_levels(plan: ImagePlan, model: LoadedModel) -> LoadedModel:
    return model.downcast() if plan.downcast_alphas else model


def plan_sigmas(plan: ImagePlan, row: SamplerRow, steps: int, model: LoadedModel) -> tuple[float, ...]:
    """The falling noise levels of the plan's schedule over `steps` steps. Raises `InvalidRequest` where they would not fall."""
    options = plan.options
    own = model.sigmas[row.every - 1 :: row.every]
    low, high = options.sigma_min or own[0], options.sigma_max or own[-1]
    if low >= high:
        raise InvalidRequest(
            f"Settings, Sampler parameters: the schedule would go from sigma {high:.4g} down to {low:.4g}. "
            "Set Schedule min sigma below Schedule max sigma, or both to 0."
        )
    return schedule_sigmas(
        plan.schedule,
        steps,
        model.sigmas,
        sampler=row,
        sigma_min=options.sigma_min,
        sigma_max=options.sigma_max,
        rho=options.rho,
        discard_penultimate=options.discard_penultimate,
        beta_alpha=options.beta_alpha,
        beta_beta=options.beta_beta,
        sdxl=model.facts.is_sdxl,
        log_sigmas=model.log_sigmas,
        unipc_skip=options.unipc_skip,
    )


def _parameters(plan: ImagePlan, row: SamplerRow) -> dict[str, Any]:
    """The keyword arguments that this sampler takes; what the plan leaves open stays at the sampler's own default."""
    options = plan.options
    values: dict[str, Any] = {
        "eta": options.eta,
        "s_churn": options.s_churn,
        "s_tmin": options.s_tmin,
        "s_tmax": options.s_tmax,
        "s_noise": options.s_noise,
        "unipc_variant": options.unipc_variant,
        "unipc_order": options.unipc_order,
        "unipc_lower_order_final": options.unipc_lower_order_final,
    }
    return {name: value for name, value in values.items() if name in row.params and value is not None}


def _latent_size(size: tuple[int, int] | None, model: LoadedModel) -> tuple[int, int] | None:
    """(height, width) in latents of a size (width, height) in pixels."""
    return (size[1] // model.facts.factor, size[0] // model.facts.factor) if size else None
