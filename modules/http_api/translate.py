"""What does an A1111 body ask for? From its labels, names and defaults to the one request type that the page makes too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modules.domain.catalog import AUTOMATIC, LATENT_UPSCALERS, NO_FACES, Catalog
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.requests import SIZE_STEP, GenerationRequest, HiresPass, Refiner, Seed
from modules.domain.styles import Style
from modules.http_api.errors import Refusal
from modules.http_api.infotext_fill import with_infotext
from modules.http_api.models import GenerationBody, Txt2ImgBody
from modules.http_api.options import find_checkpoint, known_row, request_overrides
from modules.http_api.scripts import with_scripts
from modules.prompts.network_tags import extract_network_tags
from modules.prompts.styles import with_styles
from modules.settings.schema import Settings

_NOT_SAVED: tuple[tuple[str, bool], ...] = (("samples_save", False), ("grid_save", False), ("return_grid", False))
"""What `save_images: false` means: the pictures are handed over, not kept, and no grid is made."""

_SAME = ("", "none", "use same checkpoint", "use same sampler", "use same scheduler")
_DEFAULT_SWITCH = 0.8
_FACES = "face_restoration_model"

_WITHOUT_EFFECT = (
    ("firstpass_image", "firstpass_image: the first pass is always drawn; send the picture to img2img instead."),
    ("distilled_cfg_scale", "distilled_cfg_scale: no model of this program reads it."),
    ("image_cfg_scale", "image_cfg_scale: no model of this program reads it."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What names in a body are looked up in."""

    catalog: Catalog
    settings: Settings
    styles: tuple[Style, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """The request that a body asks for, the names of the styles in it, and sentences on what it asks for in vain."""

    request: GenerationRequest
    styles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Draft:
    """A translation in the making: the request's fields, and the notes."""

    sources: Sources
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])


_Body = TypeVar("_Body", bound=GenerationBody)


def completed(body: _Body, settings: Settings) -> _Body:
    """`body` with what its infotext and its always-on scripts ask for as fields. Raises `Refusal`."""
    return with_scripts(with_infotext(body, settings))


def from_txt2img(body: Txt2ImgBody, sources: Sources) -> Translated:
    """What a completed txt2img body asks for. Raises `Refusal`, `InvalidRequest` and `ModelNotFound`."""
    draft, styles = begun(body, sources)
    width, height, second = body.width, body.height, (body.hr_resize_x, body.hr_resize_y)
    if body.enable_hr and (body.firstphase_width or body.firstphase_height):
        second = (width, height)
        width, height = body.firstphase_width or width, body.firstphase_height or height
    draft.fields |= {"width": whole_step(draft, "width", width), "height": whole_step(draft, "height", height)}
    draft.fields["hires"] = _hires(body, second, draft, styles) if body.enable_hr else None
    return finished(draft, styles)


def begun(body: GenerationBody, sources: Sources) -> tuple[Draft, tuple[Style, ...]]:
    """A draft with all that does not depend on the kind of request, and the styles that are used."""
    draft = Draft(sources)
    styles = tuple(_styles(body.styles or (), draft))
    sampler, schedule = _first_sampler(body, draft)
    _put_options(body, draft, sampler)
    sides = (body.seed_resize_from_w, body.seed_resize_from_h)
    draft.fields |= {
        "prompt": _prompt(body, body.prompt, [style.prompt for style in styles]),
        "negative_prompt": _prompt(body, body.negative_prompt, [style.negative_prompt for style in styles]),
        "steps": body.steps,
        "sampler": sampler,
        "schedule": schedule,
        "cfg_scale": body.cfg_scale,
        "seed": Seed(
            value=body.seed,
            variation=body.subseed,
            variation_strength=body.subseed_strength,
            resize_from=sides if min(sides) > 0 else None,
        ),
        "batch_size": body.batch_size,
        "batch_count": body.n_iter,
        "refiner": _refiner(body, sources.catalog),
    }
    draft.notes += [sentence for name, sentence in _WITHOUT_EFFECT if getattr(body, name, None)]
    return draft, styles


def finished(draft: Draft, styles: Iterable[Style]) -> Translated:
    """The request of a draft whose fields are all there. Raises `InvalidRequest`."""
    request = GenerationRequest(**draft.fields, overrides=tuple(draft.options.items()))
    return Translated(request=request, styles=tuple(style.name for style in styles), notes=tuple(draft.notes))


def whole_step(draft: Draft, name: str, side: int) -> int:
    """`side` down to the next size that a model can draw, as A1111 rounds it; noted where that changes it."""
    fitting = side - side % SIZE_STEP
    if fitting != side and fitting > 0:
        draft.notes.append(f"{name}: {side} is no multiple of {SIZE_STEP}; {fitting} was drawn.")
    return fitting if fitting > 0 else side


def _styles(names: Iterable[str], draft: Draft) -> Iterable[Style]:
    known = {style.name: style for style in draft.sources.styles}
    for name in names:
        if name in known:
            yield known[name]
        elif name and name != "None":
            draft.notes.append(f"styles: there is no style called {name[:80]!r}; it was left out.")


def _prompt(body: GenerationBody, text: str, styles: Iterable[str]) -> str:
    prompt = with_styles(text, styles)
    return extract_network_tags(prompt)[0] if body.disable_extra_networks else prompt


def _first_sampler(body: GenerationBody, draft: Draft) -> tuple[str, str]:
    """Sampler and schedule of the first pass; a schedule that is not known here is Automatic, as it is to A1111, with a note."""
    name = body.sampler_name or body.sampler_index
    try:
        return _sampler(name, body.scheduler, draft.sources.catalog)
    except Refusal:
        found = _sampler(name, None, draft.sources.catalog)
        draft.notes.append(f"scheduler: {str(body.scheduler)[:80]!r} is none of the schedules here; {AUTOMATIC.capitalize()} was used.")
        return found


def _sampler(name: str, schedule: str | None, catalog: Catalog) -> tuple[str, str]:
    try:
        sampler, chosen = catalog.sampler_and_schedule(name, schedule or "")
    except InvalidRequest as error:
        raise Refusal(400, "Sampler not found", str(error)) from error
    return sampler.id, chosen.id


def _put_options(body: GenerationBody, draft: Draft, sampler: str) -> None:
    overrides = request_overrides(body.override_settings or {}, draft.sources.catalog)
    draft.options |= dict(overrides.options)
    draft.notes += overrides.notes
    fields = {
        "tiling": body.tiling,
        "eta_ddim" if sampler.startswith("ddim") else "eta_ancestral": body.eta,
        "s_min_uncond": body.s_min_uncond,
        "s_churn": body.s_churn,
        "s_tmax": body.s_tmax,
        "s_tmin": body.s_tmin,
        "s_noise": body.s_noise,
    }
    for key, value in fields.items():
        if value is not None and known_row(key):
            draft.options[key] = value
        elif value:
            draft.notes.append(f"{key}: there is no such option in this program; it has no effect.")
    _put_faces(body, draft)
    if not body.save_images:
        draft.options |= dict(_NOT_SAVED)


def _put_faces(body: GenerationBody, draft: Draft) -> None:
    """By what faces are restored: what the options say, unless `restore_faces` does. Without the weights it is noted."""
    catalog, usual = draft.sources.catalog, draft.sources.settings.faces.restorer
    wanted = NO_FACES if body.restore_faces is False else str(draft.options.get(_FACES, usual))
    if body.restore_faces and wanted == NO_FACES:
        wanted = catalog.usual_restorer
    if wanted != NO_FACES:
        try:
            catalog.face_restorer(wanted)
        except ModelNotFound as error:
            draft.notes.append(f"restore_faces: {error} The pictures are as they were drawn.")
            wanted = NO_FACES
    draft.options.pop(_FACES, None)
    if wanted != usual:
        draft.options[_FACES] = wanted


def _refiner(body: GenerationBody, catalog: Catalog) -> Refiner | None:
    if _is_same(body.refiner_checkpoint):
        return None
    switch_at = _DEFAULT_SWITCH if body.refiner_switch_at is None else body.refiner_switch_at
    return Refiner(checkpoint=_checkpoint(str(body.refiner_checkpoint), catalog), switch_at=switch_at)


def _checkpoint(text: str, catalog: Catalog) -> str:
    """The full name of a checkpoint. Raises `ModelNotFound`."""
    found = find_checkpoint(text, catalog)
    return found.name if found else catalog.checkpoint(text).name


def _hires(body: Txt2ImgBody, second: tuple[int, int], draft: Draft, styles: Sequence[Style]) -> HiresPass:
    catalog = draft.sources.catalog
    return HiresPass(
        upscaler=catalog.hires_upscaler(body.hr_upscaler or LATENT_UPSCALERS[0]),
        denoising_strength=body.denoising_strength,
        steps=body.hr_second_pass_steps,
        scale=body.hr_scale,
        width=second[0],
        height=second[1],
        checkpoint=_other(body.hr_checkpoint_name, lambda text: _checkpoint(text, catalog)),
        sampler=_other(body.hr_sampler_name, lambda text: _sampler(text, None, catalog)[0]),
        schedule=_hires_schedule(body, catalog),
        prompt=body.hr_prompt and _prompt(body, body.hr_prompt, [style.prompt for style in styles]),
        negative_prompt=body.hr_negative_prompt and _prompt(body, body.hr_negative_prompt, [style.negative_prompt for style in styles]),
    )


def _hires_schedule(body: Txt2ImgBody, catalog: Catalog) -> str | None:
    """The second pass' schedule; one that is part of the sampler's old name counts too."""
    if not _is_same(body.hr_scheduler):
        return catalog.schedule(str(body.hr_scheduler)).id
    named = None if _is_same(body.hr_sampler_name) else _sampler(str(body.hr_sampler_name), None, catalog)[1]
    return named if named != AUTOMATIC else None


def _is_same(text: str | None) -> bool:
    """Whether a name says "as in the first pass" or "none"."""
    return text is None or text.strip().casefold() in _SAME


def _other(text: str | None, known: Callable[[str], str]) -> str | None:
    return None if text is None or _is_same(text) else known(text)
