"""What does the `info` of an answer say about how the pictures were made? A1111's object, from the job and its pictures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from modules.domain.catalog import Catalog
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest, Seed
from modules.domain.results import UNFINISHED, SavedImage
from modules.imaging.infotext import parse_infotext
from modules.imaging.reproduction import written_fields

_NOT_EXTRA = frozenset(
    (
        *("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE", "Version"),
        *("Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength", "Clip skip"),
    )
)
"""Infotext fields that have a place of their own in `info`."""


def generation_info(
    job: Job,
    images: Sequence[SavedImage],
    catalog: Catalog,
    *,
    denoising_strength: float,
    version: str,
    styles: Iterable[str],
    notes: Iterable[str],
) -> dict[str, Any]:
    """The object for the `images` of a job, grid first where there is one; `notes` are added to the job's own."""
    request = job.request
    assert isinstance(request, GenerationRequest), "the routes that draw submitted it"
    pictures = [image for image in images if image.kind in ("image", UNFINISHED)]
    fields = dict(written_fields(parse_infotext(pictures[0].infotext, defaults=False))) if pictures else {}
    first_seed = pictures[0].seed if pictures else request.seed.value
    texts = [parse_infotext(image.infotext, defaults=False) for image in pictures]
    variations = [_variation(image, request.seed) for image in pictures] or [request.seed.variation]
    resize = request.seed.resize_from or (-1, -1)
    checkpoint = request.checkpoint or ""
    return {
        "prompt": request.prompt,
        "all_prompts": [text.get("Prompt", "") for text in texts],
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [text.get("Negative prompt", "") for text in texts],
        "seed": first_seed,
        "all_seeds": [image.seed for image in pictures],
        "subseed": variations[0],
        "all_subseeds": variations[: len(pictures)],
        "subseed_strength": request.seed.variation_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": catalog.sampler(request.sampler).label,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": "Face restoration" in fields,
        "face_restoration_model": fields.get("Face restoration"),
        "sd_model_name": fields.get("Model") or checkpoint.rsplit("/", 1)[-1].rsplit(".", 1)[0],
        "sd_model_hash": fields.get("Model hash") or _short_hash(checkpoint, catalog),
        "sd_vae_name": fields.get("VAE"),
        "sd_vae_hash": fields.get("VAE hash"),
        "seed_resize_from_w": resize[0],
        "seed_resize_from_h": resize[1],
        "denoising_strength": denoising_strength,
        "extra_generation_params": {key: value for key, value in fields.items() if key not in _NOT_EXTRA},
        "index_of_first_image": sum(image.kind == "grid" for image in images),
        "infotexts": [image.infotext for image in images],
        "styles": list(styles),
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.created)),
        "clip_skip": request.clip_skip or 1,
        "is_using_inpainting_conditioning": False,
        "version": f"diffusion-webui v{version}",
        "notes": [*notes, *job.notes],
        "job_id": job.id,
    }


def _variation(image: SavedImage, seed: Seed) -> int:
    """The picture's variation seed; where none was mixed in, the one that was asked for, which says nothing."""
    text = parse_infotext(image.infotext, defaults=False).get("Variation seed", "") if seed.variation_strength else ""
    return int(text) if text.isdigit() else seed.variation


def _short_hash(name: str, catalog: Catalog) -> str:
    return next((info.short_hash or "" for info in catalog.checkpoints if info.name == name), "")
