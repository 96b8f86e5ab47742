"""What is written into a picture about how it was made? A function of its plan: the fields of A1111's format, in A1111's order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

from modules.domain.catalog import CODEFORMER, CheckpointInfo, VaeInfo
from modules.domain.img2img import RESIZE_LABELS, SoftInpainting
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.domain.plans import HiresPlan, ImagePlan, InpaintPlan, StartPlan
from modules.imaging.infotext import format_infotext

Field = tuple[str, object]


ShortHash = Callable[[CheckpointInfo | VaeInfo | LoraInfo | EmbeddingInfo], str | None]
"""A file's short hash; None leaves it out."""


def image_infotext(plan: ImagePlan, position: int, *, short_hash: ShortHash, version: str) -> str:
    """The infotext of the batch's picture at `position` (from 0)."""
    vae = plan.model.vae
    written = (
        *_fields(plan, position, short_hash(plan.model.checkpoint), short_hash(vae) if vae else None),
        ("Lora hashes", _hashes([(ref.mention or ref.info.stem, short_hash(ref.info)) for ref in plan.model.networks])),
        ("TI hashes", _hashes([(info.word, short_hash(info)) for info in plan.model.embeddings])),
        *(_start(plan.start) if plan.start else ()),
        ("Extra noise", number(plan.last.options.extra_noise or None)),
        *_extra_of_all_passes(plan, position),
        *(_hires(plan, plan.hires, position) if plan.hires else ()),
        *_refiner(plan),
        *plan.said,
        ("Version", f"diffusion-webui v{version}" if version else None),
    )
    return format_infotext(plan.prompts[position], plan.negatives[position], written)


def _fields(plan: ImagePlan, position: int, model_hash: str | None, vae_hash: str | None) -> Iterator[Field]:
    vae = plan.model.vae
    varied = plan.variation_strength > 0
    yield "Steps", plan.steps
    yield "Sampler", plan.sampler_label
    yield "Schedule type", plan.schedule_label
    yield "CFG scale", number(plan.cfg_scale)
    yield "Seed", plan.seeds[position]
    yield "Face restoration", plan.faces.restorer.kind if plan.faces else None
    yield "Size", f"{plan.width}x{plan.height}"
    yield "Model hash", model_hash
    yield "Model", plan.model.checkpoint.stem
    yield "VAE hash", vae_hash if vae else None
    yield "VAE", vae.name.rsplit("/", 1)[-1] if vae else None
    yield "Variation seed", plan.variation_seeds[position] if varied else None
    yield "Variation seed strength", number(plan.variation_strength) if varied else None
    yield "Seed resize from", "{}x{}".format(*plan.seed_resize_from) if plan.seed_resize_from else None
    yield "Denoising strength", number(denoising_strength(plan))
    yield "Conditional mask weight", number(plan.start.conditional_weight) if plan.start else None
    yield "Clip skip", plan.clip_skip if plan.clip_skip > 1 else None
    yield "ENSD", plan.noise_offset_seed or plan.last.noise_offset_seed or None
    yield "Init image hash", plan.start.image_hash if plan.start else None
    yield "RNG", plan.noise_source.upper() if plan.noise_source != "gpu" else None
    yield "Tiling", True if plan.model.tiling else None
    yield "CodeFormer weight", number(plan.faces.weight) if plan.faces and plan.faces.restorer.kind == CODEFORMER else None


def _extra_of_all_passes(plan: ImagePlan, position: int) -> Iterator[Field]:
    """What the first pass says, and what only the second one's sampler reads."""
    first = dict(_extra(plan, position))
    second = dict(_extra(plan.last, position))
    for key in dict.fromkeys((*first, *second)):
        value = first.get(key)
        yield key, second.get(key) if value is None else value


def denoising_strength(plan: ImagePlan) -> float | None:
    """How much is drawn anew, of the start picture or in the second pass; None where there is neither."""
    if plan.start is not None:
        return plan.start.denoising_strength
    return plan.hires.denoising_strength if plan.hires else None


def _start(start: StartPlan) -> Iterator[Field]:
    """What A1111 says of img2img, and what it should say, since pictures depend on it: the resize mode and settings."""
    yield from _inpaint(start.inpaint) if start.inpaint else ()
    yield "Noise multiplier", number(start.noise_multiplier if start.noise_multiplier != 1.0 else None)
    yield "Resize mode", RESIZE_LABELS[start.resize_mode] if start.resize_mode != "just_resize" else None
    yield "Exact steps", True if start.exact_steps else None
    yield "Color correction", True if start.color_correction else None
    yield "Background color", start.background if start.background.casefold() != "#ffffff" else None


def _inpaint(inpaint: InpaintPlan) -> Iterator[Field]:
    yield from _soft(inpaint.soft) if inpaint.soft else ()
    yield "Mask mode", "Inpaint not masked" if inpaint.invert and inpaint.has_mask else None
    if inpaint.has_mask:
        same = inpaint.blur_x == inpaint.blur_y
        yield "Mask blur", inpaint.blur_x if same else None
        yield "Mask blur x", None if same else inpaint.blur_x
        yield "Mask blur y", None if same else inpaint.blur_y
    yield "Inpaint area", "Only masked" if inpaint.only_masked else None
    yield "Masked area padding", inpaint.padding if inpaint.only_masked else None
    yield "Masked content", inpaint.content.replace("_", " ") if inpaint.content != "original" else None
    if inpaint.outpaint is not None:
        for side in ("left", "right", "top", "bottom"):
            yield f"Outpaint {side}", getattr(inpaint.outpaint, side) or None
    yield "Inpaint overlay", None if inpaint.overlay else False


def _soft(soft: SoftInpainting) -> Iterator[Field]:
    yield "Soft inpainting enabled", True
    for name in (item.name for item in fields(soft)):
        yield f"Soft inpainting {name.replace('_', ' ')}", number(getattr(soft, name))


def _extra(plan: ImagePlan, position: int) -> Iterator[Field]:
    """What is only named where it is not at its default."""
    options = plan.options
    texts = plan.prompts[position] + plan.negatives[position]
    yield "Eta DDIM" if plan.sampler.startswith("ddim") else "Eta", number(options.eta)
    yield "Sigma churn", number(options.s_churn or None)
    yield "Sigma tmin", number(options.s_tmin or None)
    yield "Sigma tmax", number(options.s_tmax)
    yield "Sigma noise", number(options.s_noise if options.s_noise != 1.0 else None)
    yield "Schedule min sigma", number(options.sigma_min)
    yield "Schedule max sigma", number(options.sigma_max)
    yield "Schedule rho", number(options.rho)
    yield "Discard penultimate sigma", True if options.discard_penultimate else None
    yield "Beta schedule alpha", number(options.beta_alpha if options.beta_alpha != 0.6 else None)
    yield "Beta schedule beta", number(options.beta_beta if options.beta_beta != 0.6 else None)
    yield "SGM noise multiplier", True if options.sgm_noise else None
    yield "UniPC variant", options.unipc_variant if options.unipc_variant != "bh1" else None
    yield "UniPC skip type", options.unipc_skip if options.unipc_skip != "time_uniform" else None
    yield "UniPC order", options.unipc_order if options.unipc_order != 3 else None
    yield "UniPC lower order final", False if not options.unipc_lower_order_final else None
    yield "NGMS", number(options.min_negative_sigma or None)
    yield "NGMS all steps", True if options.min_negative_sigma_all else None
    yield "Skip Early CFG", number(options.skip_early_negative or None)
    yield "Old prompt editing timelines", True if plan.old_prompt_timelines and "[" in texts else None
    yield "Downcast alphas_cumprod", True if plan.downcast_alphas else None
    yield "VAE tiles", True if plan.vae_tiles == "always" else None
    yield "Pad conds", True if plan.pad_prompts else None
    yield "Emphasis", _words(plan.emphasis) if plan.emphasis != "original" and ("(" in texts or "[" in texts) else None


def _hires(plan: ImagePlan, hires: HiresPlan, position: int) -> Iterator[Field]:
    """The second pass: what is as in the first is left out."""
    second = hires.second
    other_sampler = second.sampler != plan.sampler
    yield "Hires checkpoint", second.model.checkpoint.title if second.model.checkpoint != plan.model.checkpoint else None
    yield "Hires sampler", second.sampler_label if other_sampler else None
    # with another sampler always: what "Automatic" is for the first one it need not be for this one
    yield "Hires schedule type", second.schedule_label if other_sampler or second.schedule != plan.schedule else None
    yield "Hires prompt", second.prompts[position] if second.prompts != plan.prompts else None
    yield "Hires negative prompt", second.negatives[position] if second.negatives != plan.negatives else None
    yield "Hires upscale", number(hires.scale)
    yield "Hires resize", "{}x{}".format(*hires.resize) if hires.resize else None
    yield "Hires steps", second.steps if hires.own_steps else None
    yield "Hires upscaler", hires.upscaler


def _refiner(plan: ImagePlan) -> Iterator[Field]:
    refiner = plan.refiner or plan.last.refiner
    if refiner is None:
        return
    if plan.hires is not None and plan.refiner is not None:
        yield "Hires refiner", "both passes" if plan.hires.second.refiner else "first pass"
    checkpoint = refiner.model.checkpoint
    yield "Refiner", f"{checkpoint.stem} [{checkpoint.short_hash}]" if checkpoint.short_hash else checkpoint.stem
    yield "Refiner switch at", number(refiner.switch_at)


def _hashes(rows: Sequence[tuple[str, str | None]]) -> str | None:
    """ "name: hash, name: hash", each name once; the marks between them can't be part of a name."""
    known = {re.sub("[:,]", "", name): digest for name, digest in rows if digest}
    return ", ".join(f"{name}: {digest}" for name, digest in known.items()) or None


def number(value: float | None) -> str | None:
    """A number as people write it: 7 for 7.0, 0.35 for 0.35."""
    return None if value is None else str(int(value)) if value == int(value) else repr(float(value))


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
