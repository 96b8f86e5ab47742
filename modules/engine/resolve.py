"""What exactly will be done? A request, the settings and the catalogue become plans in which nothing is left open.

The only reader of settings, of seeds of -1 and of names. It draws no picture and loads no model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modules.domain.catalog import CODEFORMER, NO_FACES, Catalog, CheckpointInfo, VaeInfo
from modules.domain.errors import InvalidRequest
from modules.domain.plans import FacesPlan, HiresPlan, ImagePlan, ModelSpec, RefinerPlan, SamplerOptions, UpscalerPlan
from modules.domain.requests import MAX_SIDE, SIZE_STEP, GenerationRequest, HiresPass
from modules.engine.prompt_networks import prompt_networks
from modules.engine.resolve_start import start_plan
from modules.prompts.grammar import strip_comments
from modules.sampling.registry import AUTOMATIC, SAMPLERS, SCHEDULES, SamplerRow, resolve_schedule
from modules.settings.schema import Sampling, Settings
from modules.weights.scan import automatic_vae

RANDOM_SEEDS = 4_294_967_294
"""A random seed is drawn from 0 to just below this, as A1111 does."""

BETA = 0.6
"""Both of the beta schedule's numbers where they don't matter, so that plans that do the same are equal."""

AUTOMATIC_VAE, OWN_VAE = "automatic", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How finished pictures are written, and whether a grid is made of them."""

    image_format: str = "png"
    grid_format: str = "png"
    quality: int = 80
    embed_infotext: bool = True
    grid: bool = True
    grid_only_if_multiple: bool = True
    grid_rows: int = -1
    unfinished: bool = False
    """Whether pictures that the user ended on their way are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Whether, how often and how a picture in the making is shown. `method` is cheap, tiny or full."""

    enabled: bool = True
    every_n_steps: int = 1
    method: str = "cheap"


def resolve(request: GenerationRequest, settings: Settings, catalog: Catalog, rng: random.Random, inputs: Path = Path()) -> list[ImagePlan]:
    """The plans of all batches, in order. `rng` gives what "random" asks for: equal generators give equal plans. `inputs` is the folder
    of the pictures that requests begin from.

    Raises `ModelNotFound` and `InvalidRequest` for names that the catalogue does not have, `ImageUnreadable` for start pictures.
    """
    row, schedule, schedule_label = sampler_and_schedule(request.sampler, request.schedule, catalog)
    seeds, variations = _seeds(request, rng)
    prompt, negative = strip_comments(request.prompt), strip_comments(request.negative_prompt)
    old_rule = settings.compatibility.old_prompt_timelines
    later = _calls_of_hires(request.hires, row, request.steps, catalog) if request.hires else None
    added = prompt_networks(prompt, negative, catalog, _calls(row, request.steps), later, old_rule=old_rule)
    model = replace(model_spec(request, settings, catalog), networks=added.loras, embeddings=added.embeddings)
    adaptive = row.adaptive or (request.hires is not None and _hires_sampler(request.hires, row, catalog).adaptive)
    size = 1 if adaptive else request.batch_size  # what one picture needs must not change another
    start, (width, height), notes = (
        start_plan(request, request.init, settings, row, inputs) if request.init else (None, (request.width, request.height), ())
    )
    plans = [
        ImagePlan(
            index=first,
            model=model,
            prompts=(prompt,) * size,
            negatives=(negative,) * size,
            seeds=seeds[first : first + size],
            variation_seeds=variations[first : first + size],
            variation_strength=request.seed.variation_strength,
            seed_resize_from=_resize_from(request),
            noise_offset_seed=settings.sampling.noise_seed_delta if row.uses_ensd else 0,
            noise_source=settings.models.noise_source.lower(),
            width=width,
            height=height,
            steps=request.steps,
            sampler=row.id,
            sampler_label=row.label,
            schedule=schedule,
            schedule_label=schedule_label,
            options=_options(row, schedule, settings, from_picture=start is not None),
            cfg_scale=request.cfg_scale,
            clip_skip=request.clip_skip or settings.models.clip_skip,
            emphasis=settings.models.emphasis.lower().replace(" ", "_"),
            comma_backtrack=settings.models.comma_backtrack,
            crop=(settings.sdxl.crop_top, settings.sdxl.crop_left),
            aesthetic_scores=(settings.sdxl.high_score, settings.sdxl.low_score),
            old_prompt_timelines=old_rule,
            downcast_alphas=settings.compatibility.downcast_alphas,
            pad_prompts=settings.engine.pad_prompts,
            batch_guidance=settings.engine.batch_guidance,
            vae_retry_float32=settings.engine.vae_retry_float32,
            vae_tiles={"Always": "always", "Never": "never"}.get(settings.engine.vae_tiles, "automatic"),
            notes=(*added.notes, *notes),
            faces=_faces(settings, catalog),
            start=start,
            film=request.film,
            said=request.said,
        )
        for first in range(0, request.image_count, size)
    ]
    return [_with_more(plan, request, settings, catalog) for plan in plans]


def _with_more(plan: ImagePlan, request: GenerationRequest, settings: Settings, catalog: Catalog) -> ImagePlan:
    """The plan with its second pass, and the refiner in the passes that it is for: all there are, or what the settings say."""
    if request.hires is None:
        return replace(plan, refiner=_refiner(plan, request, settings, catalog))
    hires = hires_plan(plan, request, request.hires, settings, catalog)
    passes = settings.models.refiner_pass
    refiner = _refiner(plan, request, settings, catalog) if passes != "second pass" else None
    second = replace(hires.second, refiner=_refiner(hires.second, request, settings, catalog) if passes != "first pass" else None)
    notes = tuple(dict.fromkeys((*plan.notes, *second.notes)))
    return replace(plan, refiner=refiner, hires=replace(hires, second=second), notes=notes)


def _refiner(plan: ImagePlan, request: GenerationRequest, settings: Settings, catalog: Catalog) -> RefinerPlan | None:
    """None where nothing would change: there is no refiner, or it is the model itself."""
    asked = request.refiner
    if asked is None:
        return None
    checkpoint = catalog.checkpoint(asked.checkpoint)
    if checkpoint == plan.model.checkpoint:
        return None
    model = replace(plan.model, checkpoint=checkpoint, vae=_vae(request.vae or settings.models.vae, checkpoint, catalog))
    return RefinerPlan(model=model, switch_at=asked.switch_at)


def _faces(settings: Settings, catalog: Catalog) -> FacesPlan | None:
    kind = settings.faces.restorer
    if kind == NO_FACES:
        return None
    weight = settings.faces.weight if kind == CODEFORMER else 0.0
    return FacesPlan(restorer=catalog.face_restorer(kind), visibility=1.0, weight=weight)


def sampler_and_schedule(sampler: str, schedule: str, catalog: Catalog) -> tuple[SamplerRow, str, str]:
    """(sampler row, id of the schedule that is used, its label for the infotext). Raises `InvalidRequest`."""
    row = SAMPLERS.get(catalog.sampler(sampler).id)
    asked = catalog.schedule(schedule).id
    if row is None or asked not in SCHEDULES:
        raise InvalidRequest(f"The engine has no sampler {sampler!r} with schedule type {schedule!r}.")
    used = resolve_schedule(row.id, asked)
    # what "Automatic" comes to is only named where the sampler has a schedule of its own, as A1111 does
    return row, used, SCHEDULES[AUTOMATIC if asked == AUTOMATIC and used == "uniform" else used].label


def _calls(row: SamplerRow, steps: int) -> int:
    """How many network calls a prompt's timeline is laid out over."""
    return steps * (2 if row.second_order else 1)


def _hires_sampler(asked: HiresPass, first: SamplerRow, catalog: Catalog) -> SamplerRow:
    return SAMPLERS.get(catalog.sampler(asked.sampler).id, first) if asked.sampler else first


def _calls_of_hires(asked: HiresPass, first: SamplerRow, steps: int, catalog: Catalog) -> int:
    return _calls(_hires_sampler(asked, first, catalog), asked.steps or steps)


def hires_plan(first: ImagePlan, request: GenerationRequest, asked: HiresPass, settings: Settings, catalog: Catalog) -> HiresPlan:
    """The second pass after `first`: what is not asked for stays as it was. Raises as `resolve` does."""
    row, schedule, schedule_label = SAMPLERS[first.sampler], first.schedule, first.schedule_label
    if asked.sampler or asked.schedule:
        # "Automatic" is each sampler's own
        row, schedule, schedule_label = sampler_and_schedule(asked.sampler or first.sampler, asked.schedule or request.schedule, catalog)
    model = first.model
    if asked.checkpoint:
        checkpoint = catalog.checkpoint(asked.checkpoint)
        model = replace(model, checkpoint=checkpoint, vae=_vae(request.vae or settings.models.vae, checkpoint, catalog))
    prompt = strip_comments(asked.prompt) if asked.prompt.strip() else first.prompts[0]
    negative = strip_comments(asked.negative_prompt) if asked.negative_prompt.strip() else first.negatives[0]
    if (prompt, negative) != (first.prompts[0], first.negatives[0]):
        before, calls = _calls(SAMPLERS[first.sampler], first.steps), _calls(row, asked.steps or first.steps)
        added = prompt_networks(prompt, negative, catalog, before, calls, old_rule=first.old_prompt_timelines)
        model, notes = replace(model, networks=added.loras, embeddings=added.embeddings), added.notes
    else:
        notes = first.notes
    enlarged, size = hires_size((first.width, first.height), asked)
    second = replace(
        first,
        model=model,
        prompts=(prompt,) * first.batch_size,
        negatives=(negative,) * first.batch_size,
        notes=notes,
        width=size[0],
        height=size[1],
        steps=asked.steps or first.steps,
        sampler=row.id,
        sampler_label=row.label,
        schedule=schedule,
        schedule_label=schedule_label,
        options=_options(row, schedule, settings, from_picture=True),
        noise_offset_seed=settings.sampling.noise_seed_delta if row.uses_ensd else 0,
    )
    by_size = asked.width > 0 or asked.height > 0
    upscaler = catalog.hires_upscaler(asked.upscaler)
    return HiresPlan(
        upscaler=upscaler,
        upscaler_model=upscaler_plan(upscaler, settings, catalog),
        enlarged=enlarged,
        denoising_strength=asked.denoising_strength,
        second=second,
        scale=None if by_size else asked.scale,
        resize=(asked.width, asked.height) if by_size else None,
        own_steps=asked.steps > 0,
    )


def upscaler_plan(label: str, settings: Settings, catalog: Catalog) -> UpscalerPlan | None:
    """How the upscaler model called `label` is run; None where that is no model but a filter."""
    info = catalog.upscaler_model(label)
    return UpscalerPlan(info=info, tile=settings.upscaling.tile, overlap=settings.upscaling.tile_overlap) if info else None


def hires_size(first: tuple[int, int], asked: HiresPass) -> tuple[tuple[int, int], tuple[int, int]]:
    """(what the picture is enlarged to, the second pass' size), each (width, height): A1111's rule, in whole steps of `SIZE_STEP`.

    Raises `InvalidRequest` where the result is larger than pictures may be.
    """
    width, height = first
    if not asked.width and not asked.height:
        wide, high = int(width * asked.scale), int(height * asked.scale)
    elif not asked.height or (asked.width and width / height < asked.width / asked.height):
        wide, high = asked.width, asked.width * height // width
    else:
        wide, high = asked.height * width // height, asked.height
    cut = (asked.width, asked.height) if asked.width and asked.height else (wide, high)
    enlarged, size = _whole_steps(wide, high), _whole_steps(*cut)
    if max(size) > MAX_SIDE:
        raise InvalidRequest(f"Hires fix would make a picture of {size[0]}x{size[1]}; {MAX_SIDE} pixels a side are the most.")
    return enlarged, size


def _whole_steps(width: int, height: int) -> tuple[int, int]:
    return max(SIZE_STEP, width - width % SIZE_STEP), max(SIZE_STEP, height - height % SIZE_STEP)


def model_spec(request: GenerationRequest, settings: Settings, catalog: Catalog) -> ModelSpec:
    """The weights that a request needs, but for what its prompt adds. What it leaves open is what the settings say.

    Raises `ModelNotFound`.
    """
    checkpoint = catalog.checkpoint(request.checkpoint or settings.models.checkpoint)
    vae = _vae(request.vae or settings.models.vae, checkpoint, catalog)
    return ModelSpec(checkpoint=checkpoint, vae=vae, tiling=settings.models.tiling)


def output_options(settings: Settings) -> OutputOptions:
    """The part of the settings that writing pictures needs."""
    saving = settings.saving
    return OutputOptions(
        image_format=saving.image_format,
        grid_format=saving.grid_format,
        quality=saving.jpeg_quality,
        embed_infotext=saving.embed_infotext,
        grid=saving.save_grid or saving.show_grid,
        grid_only_if_multiple=saving.grid_only_if_multiple,
        grid_rows=saving.grid_rows,
        unfinished=saving.save_incomplete,
    )


def preview_options(settings: Settings) -> PreviewOptions:
    """The part of the settings that live previews need."""
    previews = settings.previews
    method = {"Full": "full", "TAESD": "tiny"}.get(previews.method, "cheap")
    return PreviewOptions(enabled=previews.enabled, every_n_steps=previews.every_n_steps, method=method)


def _seeds(request: GenerationRequest, rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(seeds, variation seeds) of all pictures. Seeds count up, but stay where a variation is mixed in: variation seeds count up always."""
    seed = request.seed.value if request.seed.value >= 0 else rng.randrange(RANDOM_SEEDS)
    variation = request.seed.variation if request.seed.variation >= 0 else rng.randrange(RANDOM_SEEDS)
    step = 0 if request.seed.variation_strength > 0 else 1
    count = range(request.image_count)
    return tuple(seed + step * i for i in count), tuple(variation + i for i in count)


def _resize_from(request: GenerationRequest) -> tuple[int, int] | None:
    size = request.seed.resize_from
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def _vae(name: str, checkpoint: CheckpointInfo, catalog: Catalog) -> VaeInfo | None:
    if name.strip().casefold() == OWN_VAE:
        return None
    return automatic_vae(checkpoint, catalog.vaes) if name.strip().casefold() == AUTOMATIC_VAE else catalog.vae(name)


def _options(row: SamplerRow, schedule: str, all_settings: Settings, *, from_picture: bool) -> SamplerOptions:
    """Only what this sampler reads, and None for what is left to it, so that plans that do the same are equal."""
    settings = all_settings.sampling
    takes_sigmas, negative = not row.timestep_rule, not row.needs_uncond
    default_eta, eta = (0.0, settings.eta_ddim) if row.variance_preserving else (1.0, settings.eta_ancestral)
    return SamplerOptions(
        eta=eta if "eta" in row.params and eta != default_eta else None,
        s_churn=_taken(row, "s_churn", settings.s_churn, 0.0),
        s_tmin=_taken(row, "s_tmin", settings.s_tmin, 0.0),
        s_tmax=_taken(row, "s_tmax", settings.s_tmax, 0.0) or None,
        s_noise=_taken(row, "s_noise", settings.s_noise, 1.0),
        sigma_min=settings.sigma_min or None if takes_sigmas else None,
        sigma_max=settings.sigma_max or None if takes_sigmas else None,
        rho=settings.rho or None if takes_sigmas else None,
        discard_penultimate=settings.discard_penultimate and takes_sigmas and not row.discard_next_to_last,
        beta_alpha=settings.beta_alpha if schedule == "beta" else BETA,
        beta_beta=settings.beta_beta if schedule == "beta" else BETA,
        sgm_noise=settings.sgm_noise and not row.variance_preserving,
        extra_noise=all_settings.img2img.extra_noise if from_picture else 0.0,
        min_negative_sigma=settings.min_negative_sigma if negative else 0.0,
        min_negative_sigma_all=settings.min_negative_sigma_all and negative and settings.min_negative_sigma > 0,
        **_unipc_options(row, settings),
        skip_early_negative=settings.skip_early_negative if negative else 0.0,
    )


def _unipc_options(row: SamplerRow, settings: Sampling) -> dict[str, Any]:
    if row.timestep_rule != "unipc":
        return {}
    return {
        "unipc_variant": settings.unipc_variant,
        "unipc_skip": settings.unipc_skip,
        "unipc_order": settings.unipc_order,
        "unipc_lower_order_final": settings.unipc_lower_order_final,
    }


def _taken(row: SamplerRow, name: str, value: float, default: float) -> float:
    names: Sequence[str] = row.params
    return value if name in names else default
