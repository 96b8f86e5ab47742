"""Whether a request can be accepted, and what is frozen at that moment.

A name that does not exist fails here, at the click, not an hour later in the queue.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modules.domain.catalog import NO_FACES, Catalog
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import JobRequest
from modules.domain.merging import NO_VAE, MergeRequest, with_free_name, without_unused
from modules.domain.requests import GenerationRequest, HiresPass
from modules.domain.training import TrainRequest
from modules.settings.paths import input_file
from modules.settings.schema import Settings
from modules.settings.values import with_options

AUTOMATIC = "automatic"


CHECKPOINT, VAE, CLIP_SKIP = "sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers"
"""Options that a request also has as fields of its own; what it overrides goes before those."""


def freeze(request: JobRequest, settings: Settings, catalog: Catalog, inputs: Path) -> tuple[JobRequest, Settings]:
    """(`request` with everything filled in that later changes of the settings must not change, and every name in its full form;
    the settings with the request's own laid over). `inputs` is the folder of the pictures that requests begin from.

    Raises `InvalidRequest` (sampler, schedule, upscaler, overrides, a start picture that is gone) and `ModelNotFound` (checkpoint, VAE).
    """
    _check_inputs(request, inputs)
    settings = with_options(settings, dict(request.overrides))
    if isinstance(request, ExtrasRequest):
        return _frozen_extras(request, catalog), settings
    if isinstance(request, TrainRequest):
        return replace(request, checkpoint=catalog.checkpoint(request.checkpoint or settings.models.checkpoint).name), settings
    if isinstance(request, MergeRequest):
        return _frozen_merge(request, catalog), settings
    return _frozen_generation(request, settings, catalog), settings


def _frozen_extras(request: ExtrasRequest, catalog: Catalog) -> ExtrasRequest:
    for kind in request.face_restorers:
        catalog.face_restorer(kind)
    return replace(request, upscaler_1=catalog.extras_upscaler(request.upscaler_1), upscaler_2=catalog.extras_upscaler(request.upscaler_2))


def _frozen_merge(request: MergeRequest, catalog: Catalog) -> MergeRequest:
    asked = without_unused(request)
    found = {name: catalog.checkpoint(text) for name in ("primary", "secondary", "tertiary") if (text := getattr(asked, name))}
    folder = next((info.name for info in found.values() if info.format == "diffusers"), None)
    if folder is not None:
        raise InvalidRequest(f"{folder} is a folder in diffusers' layout, and only single files can be merged: choose another model.")
    asked = replace(
        asked,
        vae=NO_VAE if asked.vae.strip().casefold() == NO_VAE.casefold() else catalog.vae(asked.vae).name,
        loras=tuple((catalog.lora(name).name, weight) for name, weight in asked.loras),
        **{name: info.name for name, info in found.items()},
    )
    return with_free_name(asked, [info.name for info in catalog.checkpoints])


def _frozen_generation(request: GenerationRequest, settings: Settings, catalog: Catalog) -> GenerationRequest:
    _check_faces(settings, catalog)
    overrides = dict(request.overrides)
    checkpoint = None if CHECKPOINT in overrides else request.checkpoint
    vae = None if VAE in overrides else request.vae
    clip_skip = None if CLIP_SKIP in overrides else request.clip_skip
    return replace(
        request,
        sampler=catalog.sampler(request.sampler).id,
        schedule=_schedule(request.schedule, catalog),
        checkpoint=catalog.checkpoint(checkpoint or settings.models.checkpoint).name,
        vae=_vae(vae or settings.models.vae, catalog),
        clip_skip=clip_skip or settings.models.clip_skip,
        hires=_hires(request.hires, catalog) if request.hires else None,
        refiner=replace(request.refiner, checkpoint=catalog.checkpoint(request.refiner.checkpoint).name) if request.refiner else None,
    )


def _check_faces(settings: Settings, catalog: Catalog) -> None:
    if settings.faces.restorer != NO_FACES:
        try:
            catalog.face_restorer(settings.faces.restorer)
        except ModelNotFound as error:
            raise ModelNotFound(f"{error} Or choose None in Settings, Face restoration.") from error


def _hires(asked: HiresPass, catalog: Catalog) -> HiresPass:
    return replace(
        asked,
        upscaler=catalog.hires_upscaler(asked.upscaler),
        checkpoint=catalog.checkpoint(asked.checkpoint).name if asked.checkpoint else None,
        sampler=catalog.sampler(asked.sampler).id if asked.sampler else None,
        schedule=_schedule(asked.schedule, catalog) if asked.schedule else None,
    )


def _check_inputs(request: JobRequest, inputs: Path) -> None:
    for name in request.inputs:
        path = input_file(inputs, name)
        if path is None or not path.is_file():
            raise InvalidRequest("A picture that the request begins from is not here any more: choose it again.")


def _schedule(name: str, catalog: Catalog) -> str:
    return AUTOMATIC if name.strip().casefold() == AUTOMATIC else catalog.schedule(name).id


def _vae(name: str, catalog: Catalog) -> str:
    """A VAE's full name; "Automatic" and "None" are choices too."""
    for choice in ("Automatic", "None"):
        if name.strip().casefold() == choice.casefold():
            return choice
    return catalog.vae(name).name
