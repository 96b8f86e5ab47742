"""How does an infotext fill the form? Its fields become values of the form and overrides of settings; a report says what became of each.

Knows the form's controls as names only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modules.domain.catalog import AUTOMATIC, LATENT_UPSCALERS, NO_FACES, Catalog, CheckpointInfo
from modules.domain.errors import InvalidRequest, ModelNotFound, UserError
from modules.gradio_ui.form import NO_REFINER, SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from modules.gradio_ui.pasting.img2img import KEYS, RESIZE_TO, SIDES, has_second_pass, img2img_values, is_from_picture
from modules.gradio_ui.pasting.models import (
    checkpoint_match,
    embedding_matches,
    lora_matches,
    vae_match,
    with_renamed,
)
from modules.gradio_ui.pasting.options import LABELS, unwritten
from modules.gradio_ui.pasting.samplers import schedule_doubt, second_pass_names
from modules.gradio_ui.pasting.scripts import is_script_field, script_form_values
from modules.imaging.infotext import DEFAULTS, parse_infotext
from modules.imaging.infotext_options import OPTIONS
from modules.imaging.infotext_versions import implied_fields
from modules.imaging.reproduction import HARMLESS, OTHER_PROGRAMS, Field, ModelMatch, Report, missing_feature, written_fields
from modules.prompts.network_tags import LORA_KINDS, extract_network_tags, strange_arguments
from modules.settings.rows import row_by_key
from modules.settings.schema import Settings
from modules.settings.values import checked_options, value_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """An infotext read back: new `values` of the form by name, `options` by A1111's key, `notes` on what could not be taken over, and the
    `report` on everything."""

    values: Mapping[str, Any]
    options: Mapping[str, Any]
    notes: Sequence[str]
    report: Report


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_NUMBERS = {
    "steps": ("Steps", int),
    "cfg_scale": ("CFG scale", _finite),
    "seed": ("Seed", int),
    "width": ("Size-1", int),
    "height": ("Size-2", int),
    "subseed": ("Variation seed", int),
    "subseed_strength": ("Variation seed strength", _finite),
    "seed_resize_from_w": ("Seed resize from-1", int),
    "seed_resize_from_h": ("Seed resize from-2", int),
    "denoising_strength": ("Denoising strength", _finite),
    "hires_steps": ("Hires steps", int),
    "refiner_switch_at": ("Refiner switch at", _finite),
    "hr_scale": ("Hires upscale", _finite),
    "hr_resize_x": ("Hires resize-1", int),
    "hr_resize_y": ("Hires resize-2", int),
}

_EXTRA: Mapping[str, Any] = {"subseed": -1, "subseed_strength": 0.0, "seed_resize_from_w": 0, "seed_resize_from_h": 0}
"""What of the seed's "Extra" a text leaves out that opens it."""

_HIRES = ("upscale", "upscaler", "resize", "steps", "checkpoint", "sampler", "schedule type", "prompt", "negative prompt")
_HIRES_FIELDS = frozenset(f"Hires {name}" for name in _HIRES)
_FORM_FIELDS = _HIRES_FIELDS | {
    *(key.removesuffix("-1").removesuffix("-2") for key, _ in _NUMBERS.values()),
    "Sampler",
    "Schedule type",
    "Refiner",
    "First pass size",
}
_MODEL_FIELDS = frozenset(("Model", "Model hash", "VAE", "VAE hash", "Lora hashes", "TI hashes"))


@dataclass(slots=True)
class _Draft:
    """A paste in the making."""

    found: Mapping[str, str]
    written: Mapping[str, str]
    catalog: Catalog
    settings: Settings
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    substituted: dict[str, str] = field(default_factory=dict[str, str])
    models: list[ModelMatch] = field(default_factory=list[ModelMatch])
    differences: list[str] = field(default_factory=list[str])
    doubts: list[str] = field(default_factory=list[str])

    def refuse(self, key: str, sentence: str) -> None:
        """The field `key` can't be used, for the reason in `sentence`."""
        self.notes.append(sentence)
        self.refused[key] = sentence
        self.differences.append(f"{key} could not be taken over")


def from_infotext(text: str, catalog: Catalog, settings: Settings, *, img2img: bool = False) -> Pasted:
    """Read `text` as A1111 does when the arrow button is pressed, for the form of txt2img or of `img2img`.

    Never raises on any text: what can't be used becomes a note.
    """
    found = parse_infotext(text)
    prompts = {"prompt": found.get("Prompt", ""), "neg_prompt": found.get("Negative prompt", "")}
    written = dict(written_fields(parse_infotext(text, defaults=False)))
    if not written:
        notes = ["This text holds no generation parameters; it was taken as a plain prompt."]
        return Pasted(values=prompts, options={}, notes=notes, report=Report(has_parameters=False))
    implied = implied_fields(found) if settings.compatibility.auto_backcompat else {}
    implied = {key: value for key, value in implied.items() if written.get(key, "False") == "False"}
    draft = _Draft({**found, **implied}, written, catalog, settings)
    draft.values.update(prompts)
    _paste_numbers(draft)
    _paste_sampler(draft)
    if img2img:
        _paste_img2img(draft)
    else:
        _paste_hires(draft)
    _paste_script(draft, "img2img" if img2img else "txt2img")
    _paste_refiner(draft)
    _paste_options(draft)
    _paste_checkpoint(draft)
    _paste_vae(draft)
    _paste_networks(draft)
    draft.doubts += [why for program, why in OTHER_PROGRAMS.items() if found.get("Version", "").startswith(program)]
    draft.doubts += ["it was interrupted on its way, and will be finished"] if "Unfinished" in found else []
    report = _report(draft, implied)
    return Pasted(values=draft.values, options=draft.options, notes=draft.notes, report=report)


def _paste_numbers(draft: _Draft) -> None:
    for name, (key, convert) in _NUMBERS.items():
        if key in draft.found:
            try:
                draft.values[name] = convert(draft.found[key])
            except ValueError:
                draft.refuse(key, f"{key} {draft.found[key]!r} is not a number.")
    shown = "Variation seed" in draft.found or "Seed resize from-1" in draft.found
    # the rest of what opens now may hold what nobody sees yet
    draft.values = {**(_EXTRA if shown else {}), **draft.values, "subseed_show": shown}


def _paste_sampler(draft: _Draft) -> None:
    catalog, label, schedule = draft.catalog, draft.found.get("Sampler", ""), draft.found.get("Schedule type", "")
    try:
        catalog.schedule(schedule or AUTOMATIC)
    except InvalidRequest as error:
        draft.refuse("Schedule type", str(error))
        schedule = ""
    try:
        if label:
            sampler, chosen = catalog.sampler_and_schedule(label, schedule)
            draft.values["sampling"], draft.values["scheduler"] = sampler.label, chosen.label
            if sampler.label != label:
                draft.substituted["Sampler"] = f"{sampler.label} with schedule type {chosen.label}, which is the same"
    except InvalidRequest as error:
        draft.refuse("Sampler", str(error))
    if "scheduler" not in draft.values and schedule and "Schedule type" in draft.written:
        draft.values["scheduler"] = catalog.schedule(schedule).label
    doubt = schedule_doubt(draft.written)
    draft.doubts += [doubt] if doubt else []


def _paste_script(draft: _Draft, tab: str) -> None:
    values, refused = script_form_values(draft.found, tab)
    draft.values.update(values)
    draft.refused.update(refused)


def _paste_hires(draft: _Draft) -> None:
    catalog, values = draft.catalog, draft.values
    found = {**draft.found, **second_pass_names(draft.found, draft.written, catalog)}
    values["hr"] = has_second_pass(found)
    if not values["hr"]:
        if is_from_picture(found):
            draft.refused.update(dict.fromkeys(KEYS, "this belongs to img2img: paste the text there"))
            draft.differences.append("the picture was made from another one: paste it in img2img")
        return
    values["hires_steps"] = values.get("hires_steps", 0)
    values["hires_prompt"], values["hires_neg_prompt"] = found.get("Hires prompt", ""), found.get("Hires negative prompt", "")
    rows: tuple[tuple[str, str, str, Callable[[str], str]], ...] = (
        ("hr_upscaler", "Hires upscaler", LATENT_UPSCALERS[0], catalog.hires_upscaler),
        ("hr_checkpoint", "Hires checkpoint", SAME_CHECKPOINT, lambda text: catalog.checkpoint(_without_hash(text)).title),
        ("hr_sampler", "Hires sampler", SAME_SAMPLER, lambda text: catalog.sampler(text).label),
        ("hr_scheduler", "Hires schedule type", SAME_SCHEDULE, lambda text: catalog.schedule(text).label),
    )
    for name, key, same, known in rows:
        text = found.get(key, same)
        values[name] = same
        try:
            values[name] = text if text == same else known(text)
        except UserError as error:
            draft.notes.append(f"{key}: {error}")
            draft.substituted[key] = same
            draft.differences.append(f"{key} {text!r} is not here, {same!r} stands for it")


def _paste_img2img(draft: _Draft) -> None:
    values, unreadable = img2img_values(draft.found)
    draft.values.update(values)
    # the text gives the size that came out, and outpainting by its sides alone
    draft.values.update(hr=False, resize_kind=RESIZE_TO, outpaint_enabled=any(values[name] for name in SIDES if name in values))
    for key in unreadable:
        draft.refuse(key, f"{key} {draft.found[key]!r} is not usable.")
    if is_from_picture(draft.found):
        draft.doubts.append("it depends on the picture that it was made from, which the text does not hold")
    else:
        draft.differences.append("the picture was not made from another one: paste it in txt2img")


def _paste_refiner(draft: _Draft) -> None:
    wanted = draft.found.get("Refiner", "")
    draft.values["enable_refiner"], draft.values["refiner_checkpoint"] = False, NO_REFINER
    if not wanted:
        return
    name, _, digest = wanted.rstrip("]").partition(" [")
    checkpoint = _checkpoint(digest, draft.catalog) or _checkpoint(name, draft.catalog)
    if checkpoint is None:
        draft.refuse("Refiner", f"The picture's refiner, {name}, is not here: the result will differ.")
    else:
        draft.values["enable_refiner"], draft.values["refiner_checkpoint"] = True, checkpoint.title


def _checkpoint(text: str, catalog: Catalog) -> CheckpointInfo | None:
    """The one checkpoint with this name or hash; None where there is none, or several."""
    try:
        return catalog.checkpoint(text) if text else None
    except ModelNotFound:
        return None


def _without_hash(title: str) -> str:
    """A checkpoint's name as titles have it in front of the hash."""
    return title.split(" [")[0]


def _paste_options(draft: _Draft) -> None:
    draft.options.update(unwritten(draft.found, draft.settings))
    for key, (option, convert) in OPTIONS.items():
        if key not in draft.found:
            continue
        try:
            value = convert(draft.found[key])
            checked_options({option: value}, host=False)
            if key == "Face restoration" and value != NO_FACES:
                draft.catalog.face_restorer(value)
            draft.options[option] = value
        except ValueError:
            draft.refuse(key, f"{key} {draft.found[key]!r} is not usable.")
        except (InvalidRequest, ModelNotFound) as error:
            draft.refuse(key, str(error))


def _paste_checkpoint(draft: _Draft) -> None:
    info, match = checkpoint_match(draft.found, draft.catalog)
    if match is None:
        draft.doubts.append("the text does not name its checkpoint")
        return
    _judge(draft, match)
    if info is None:
        draft.notes.append(f"The picture's model, {match.name}, is not here: the result will differ.")
        return
    chosen = draft.settings.models.checkpoint
    in_use = draft.catalog.checkpoints[0].name if not chosen else _without_hash(chosen)
    if in_use in (info.name, info.stem, info.short_hash):
        return
    if draft.settings.page.keep_checkpoint_on_paste:
        draft.notes.append(f"The picture was made with {info.stem}; the checkpoint in use stays, as the settings say.")
        draft.differences.append(f"the checkpoint in use, {in_use}, stays, as the settings say")
    else:
        draft.options["sd_model_checkpoint"] = info.title


def _paste_vae(draft: _Draft) -> None:
    info, match = vae_match(draft.found, draft.catalog)
    if match is not None:
        _judge(draft, match)
    if info is not None:
        draft.options["sd_vae"] = info.name
    elif match is not None:
        draft.notes.append(f"The picture's VAE, {match.name}, is not here: the result will differ.")
    elif draft.settings.models.vae not in ("Automatic", "None"):
        draft.doubts.append(f"the text names no VAE, and {draft.settings.models.vae} is set here")


def _paste_networks(draft: _Draft) -> None:
    names = [name for name in ("prompt", "hires_prompt") if draft.values.get(name)]
    texts = [draft.values[name] for name in names]
    loras, renamed = lora_matches(draft.found, texts, draft.catalog)
    for name in names:
        draft.values[name] = with_renamed(draft.values[name], renamed)
    draft.notes += [f"LoRA {old} is called {new} here; the prompt says so now." for old, new in renamed.items()]
    others = dict.fromkeys(tag.kind for text in texts for tag in extract_network_tags(text)[1] if tag.kind not in LORA_KINDS)
    draft.differences += [f"<{kind}:…> in the prompt is nothing that this program can add" for kind in others]
    lora_tags = [tag for text in texts for tag in extract_network_tags(text)[1] if tag.kind in LORA_KINDS]
    strange = dict.fromkeys(name for tag in lora_tags for name in strange_arguments(tag))
    draft.differences += [f"{name}= in a LoRA's tag has no effect here" for name in strange]
    for match in (*loras, *embedding_matches(draft.found, draft.catalog)):
        _judge(draft, match)
        if match.kind != "LoRA" and match.match == "renamed":
            draft.differences.append(f"{match.name} is called {match.here} here: write that into the prompt")


def _judge(draft: _Draft, match: ModelMatch) -> None:
    draft.models.append(match)
    if match.match == "missing":
        draft.differences.append(f"its {match.kind} {match.name} is not here")
    elif match.match == "different":
        draft.differences.append(f"its {match.kind} {match.name} is another file than the one of that name here")
    elif match.match == "unverified":
        draft.doubts.append(f"its {match.kind} {match.name} could be compared by name only, not by hash")


def _report(draft: _Draft, implied: Mapping[str, str]) -> Report:
    """Every field of the text, and those that its version implies, in the list that says what became of it."""
    applied: list[Field] = []
    overrides: list[Field] = []
    substituted: list[Field] = []
    ignored: list[Field] = []
    for key, value in {**draft.written, **implied}.items():
        reason = _refusal(draft, key)
        option = OPTIONS[key][0] if key in OPTIONS else None
        if reason is not None:
            ignored.append(Field(key, value, reason))
        elif key in draft.substituted:
            substituted.append(Field(key, value, draft.substituted[key]))
        elif option is not None and draft.options[option] != value_of(draft.settings, row_by_key(option)):
            overrides.append(Field(key, value, f"as version {draft.found['Version']} did" if key in implied else ""))
        elif option is not None or key in _FORM_FIELDS or is_script_field(key) or (key in KEYS and is_from_picture(draft.found)):
            applied.append(Field(key, value, f"as version {draft.found['Version']} did" if key in implied else ""))
        elif key not in _MODEL_FIELDS:
            ignored.append(_stranger(draft, key, value))
    return Report(
        applied=tuple(applied),
        overrides=tuple(overrides),
        substituted=tuple(substituted),
        ignored=tuple(ignored),
        models=tuple(draft.models),
        differences=tuple(dict.fromkeys(draft.differences)),
        doubts=tuple(dict.fromkeys(draft.doubts)),
    )


def _refusal(draft: _Draft, key: str) -> str | None:
    """Why a field that this program knows was not used."""
    if key in _HIRES_FIELDS and not draft.values["hr"]:
        return "hires fix needs a denoising strength, and an upscaler or a size, which the text does not give"
    if key in KEYS and key != "Denoising strength" and not is_from_picture(draft.found):
        return "this is about img2img, which the picture was not made with"
    if key in OPTIONS and OPTIONS[key][0] not in draft.options and key not in draft.refused:
        return "this is no value of that field"
    return next((draft.refused[each] for each in (key, f"{key}-1", f"{key}-2") if each in draft.refused), None)


def _stranger(draft: _Draft, key: str, value: str) -> Field:
    """A field that nothing here reads."""
    if key in HARMLESS:
        return Field(key, value, f"{HARMLESS[key]}; the picture does not depend on it")
    if dict(DEFAULTS).get(key) == value:
        return Field(key, value, "is how this program does it anyway")
    feature = missing_feature(key)
    if feature is not None:
        draft.differences.append(f"{key}: {feature}")
        return Field(key, value, feature)
    draft.doubts.append(f"{key} is a field that this program does not know")
    return Field(key, value, "this program does not know this field")


def override_entries(options: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What the "Override settings" list shows: "Clip skip: 2" for each pasted option that differs from what is set now."""
    return [f"{LABELS[key]}: {value}" for key, value in options.items() if current.get(key) != value]


def parse_overrides(entries: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """The (option key, value) pairs behind the list's entries. Raises `InvalidRequest` for an entry that names no setting."""
    pairs: list[tuple[str, Any]] = []
    for entry in entries:
        label, _, value = entry.partition(": ")
        key = next((option for option, name in LABELS.items() if name == label), None)
        if key is None:
            raise InvalidRequest(f"Override settings: {entry!r} names no setting; remove it from the list.")
        pairs.append((key, value))
    return tuple(pairs)
