"""Between the page's controls and a `GenerationRequest`: which control means which field.

Knows components only as keys of a dict; what they look like is the business of `parts/` and `tabs/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.components import Number

from modules.domain.catalog import Catalog
from modules.domain.checks import check
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.requests import GenerationRequest, HiresPass, Refiner, Seed

DEFAULT_SIZE = 512
DEFAULT_GUIDANCE = 7.0


class Form:
    """The named inputs of one tab. A control's `elem_id` is A1111's, `<tab>_<name>`, and is also its key among the saved defaults."""

    def __init__(self, tab: str) -> None:
        self.tab = tab
        self._components: dict[str, gr.components.Component] = {}

    def elem_id(self, name: str) -> str:
        return f"{self.tab}_{name}"

    def add(self, name: str, component: Any) -> Any:
        """Take `component` in as the input `name` and return it."""
        self._components[name] = component
        if isinstance(component, gr.Slider):
            _take_any_number(component)
        return component

    def __getitem__(self, name: str) -> Any:
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._components)

    @property
    def components(self) -> list[Any]:
        return list(self._components.values())

    @property
    def elem_ids(self) -> list[str]:
        return [self.elem_id(name) for name in self._components]

    def choices(self) -> dict[str, list[str]]:
        """The allowed values of every dropdown by elem_id, for the browser to check what it remembers."""
        return {
            self.elem_id(name): [str(value) for _, value in component.choices]
            for name, component in self._components.items()
            if isinstance(component, gr.Dropdown) and not component.allow_custom_value
        }

    def initial(self) -> dict[str, Any]:
        """The values the form was built with, by elem_id: what "default" means when nobody saved one."""
        return {self.elem_id(name): component.value for name, component in self._components.items()}

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """What Gradio handed over, keyed by name instead of component."""
        return {name: data[component] for name, component in self._components.items()}


def _take_any_number(slider: gr.Slider) -> None:
    """Pasted pictures and other programs know larger sizes and more steps than a slider's end. Gradio would refuse such a click without a
    word; the request has limits of its own, and sentences."""
    slider.preprocess = lambda payload: Number.round_to_precision(payload, slider.precision)


def shown_value(name: str, value: Any) -> Any:
    """What sets the control `name` of a form to `value`."""
    # The one control that is hidden while it is empty, and lists only what it holds.
    return gr.Dropdown(value=value, choices=value, visible=bool(value)) if name == "override_settings" else value


def to_request(
    values: Mapping[str, Any],
    catalog: Catalog,
    *,
    checkpoint: str | None = None,
    vae: str | None = None,
    clip_skip: int | None = None,
    overrides: tuple[tuple[str, Any], ...] = (),
) -> GenerationRequest:
    """The request that the form's `values` ask for. Raises `InvalidRequest` with the control's label in the sentence."""
    extra = bool(values.get("subseed_show"))
    resize = (
        whole_number(values, "seed_resize_from_w", "Resize seed from width"),
        whole_number(values, "seed_resize_from_h", "Resize seed from height"),
    )
    seed = Seed(
        value=whole_number(values, "seed", "Seed"),
        variation=whole_number(values, "subseed", "Variation seed") if extra else -1,
        variation_strength=number(values, "subseed_strength", "Variation strength") if extra else 0.0,
        resize_from=resize if extra and min(resize) > 0 else None,
    )
    return GenerationRequest(
        prompt=str(values["prompt"] or ""),
        negative_prompt=str(values["neg_prompt"] or ""),
        width=whole_number(values, "width", "Width"),
        height=whole_number(values, "height", "Height"),
        steps=whole_number(values, "steps", "Sampling steps"),
        sampler=catalog.sampler(str(values["sampling"])).id,
        schedule=catalog.schedule(str(values["scheduler"])).id,
        cfg_scale=number(values, "cfg_scale", "CFG scale"),
        seed=seed,
        batch_size=whole_number(values, "batch_size", "Batch size"),
        batch_count=whole_number(values, "batch_count", "Batch count"),
        checkpoint=checkpoint,
        vae=vae,
        clip_skip=clip_skip,
        hires=to_hires(values, catalog) if values.get("hr") else None,
        refiner=to_refiner(values) if values.get("enable_refiner") else None,
        overrides=overrides,
    )


SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE = "Use same checkpoint", "Use same sampler", "Use same scheduler"


NO_REFINER = "None"


def to_refiner(values: Mapping[str, Any]) -> Refiner:
    """The refiner that the form's `values` ask for. Raises `InvalidRequest` where none is chosen."""
    checkpoint = str(values["refiner_checkpoint"] or NO_REFINER)
    check(checkpoint != NO_REFINER, "Refiner: choose a checkpoint, or take the tick away.")
    return Refiner(checkpoint=checkpoint, switch_at=number(values, "refiner_switch_at", "Refiner: switch at"))


def to_hires(values: Mapping[str, Any], catalog: Catalog) -> HiresPass:
    """The second pass that the form's `values` ask for. Raises `InvalidRequest` with the control's label in the sentence."""

    def other(name: str, same: str) -> str | None:
        value = str(values[name] or same)
        return None if value == same else value

    checkpoint, sampler = other("hr_checkpoint", SAME_CHECKPOINT), other("hr_sampler", SAME_SAMPLER)
    schedule = other("hr_scheduler", SAME_SCHEDULE)
    return HiresPass(
        upscaler=catalog.hires_upscaler(str(values["hr_upscaler"])),
        denoising_strength=number(values, "denoising_strength", "Denoising strength"),
        steps=whole_number(values, "hires_steps", "Hires steps"),
        scale=number(values, "hr_scale", "Upscale by"),
        width=whole_number(values, "hr_resize_x", "Resize width to"),
        height=whole_number(values, "hr_resize_y", "Resize height to"),
        checkpoint=checkpoint,
        sampler=catalog.sampler(sampler).id if sampler else None,
        schedule=catalog.schedule(schedule).id if schedule else None,
        prompt=str(values["hires_prompt"] or ""),
        negative_prompt=str(values["hires_neg_prompt"] or ""),
    )


def matching_size(width: int, height: int, catalog: Catalog, checkpoint: str) -> tuple[int, int]:
    """The size for a newly chosen checkpoint: its native one if the form shows some checkpoint's native square, else what it shows."""
    known = {info.native_size for info in catalog.checkpoints if info.native_size} | {DEFAULT_SIZE}
    if width != height or width not in known:
        return width, height
    try:
        side = catalog.checkpoint(checkpoint).native_size or DEFAULT_SIZE
    except ModelNotFound:
        return width, height
    return side, side


def matching_guidance(shown: float, catalog: Catalog, checkpoint: str) -> float:
    """The CFG scale for a newly chosen checkpoint: the one that suits it if the form shows some checkpoint's, else what it shows."""
    known = {info.suited_guidance for info in catalog.checkpoints if info.suited_guidance} | {DEFAULT_GUIDANCE}
    if shown not in known:
        return shown
    try:
        return catalog.checkpoint(checkpoint).suited_guidance or DEFAULT_GUIDANCE
    except ModelNotFound:
        return shown


def number(values: Mapping[str, Any], name: str, label: str) -> float:
    """The number in the control `name`. Raises `InvalidRequest` with the control's label in the sentence."""
    value = values.get(name)
    if value is None or value == "":
        raise InvalidRequest(f"{label} is empty: type a number.")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{label} must be a number, not {str(value)[:40]!r}.") from None


def whole_number(values: Mapping[str, Any], name: str, label: str) -> int:
    """The whole number in the control `name`. Raises `InvalidRequest` with the control's label in the sentence."""
    value = values.get(name)
    # A seed may be longer than a float is exact, so text and ints never go through float.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,30}\s*", value):
        return int(value)
    found = number(values, name, label)
    if found != int(found):
        raise InvalidRequest(f"{label} must be a whole number, not {found:g}.")
    return int(found)
