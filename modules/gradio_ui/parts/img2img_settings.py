"""img2img's column of controls: how the picture is resized, what of it is drawn anew, and then what txt2img has, in A1111's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.domain.catalog import Catalog
from modules.domain.img2img import RESIZE_LABELS
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET
from modules.gradio_ui.parts.generation_settings import (
    SettingsColumn,
    batch_column,
    cfg_scale,
    override_list,
    sampler_row,
    seed_rows,
    size_columns,
)
from modules.gradio_ui.parts.img2img_sources import MASKED
from modules.gradio_ui.parts.prompt_box import tool_button
from modules.gradio_ui.parts.refiner import refiner_controls
from modules.gradio_ui.parts.scripts import ScriptPart
from modules.gradio_ui.pasting.img2img import CONTENT_LABELS, INPAINT_AREAS, MASK_MODES, RESIZE_BY, RESIZE_TO, SIDES

SOFT = {
    "soft_inpainting_schedule_bias": ("Schedule bias", 0, 8, 0.1, 1.0),
    "soft_inpainting_preservation_strength": ("Preservation strength", 0, 8, 0.05, 0.5),
    "soft_inpainting_transition_contrast_boost": ("Transition contrast boost", 1, 32, 0.5, 4.0),
    "soft_inpainting_mask_influence": ("Mask influence", 0, 1, 0.05, 0.0),
    "soft_inpainting_difference_threshold": ("Difference threshold", 0, 8, 0.25, 0.5),
    "soft_inpainting_difference_contrast": ("Difference contrast", 0, 8, 0.25, 2.0),
}
"""Soft inpainting's numbers: name -> (label, least, most, step, default)."""


def img2img_settings(form: Form, catalog: Catalog, scripts: Callable[[], ScriptPart]) -> SettingsColumn:
    """Lay the controls out in the current column and put them into `form`; wires what only changes what is shown.

    `scripts` lays out those of the scripts, at the end.
    """
    _radio(form, "resize_mode", list(RESIZE_LABELS.values()), RESIZE_LABELS["just_resize"], "Resize mode", elem_id="resize_mode")
    _mask_controls(form)
    sampler_row(form, catalog)
    refiner_controls(form, catalog)
    swap_size = _dimensions(form)
    with gr.Row():
        cfg_scale(form)
        _slider(form, "denoising_strength", "Denoising strength", 0, 1, 0.01, 0.75)
    random_seed, reuse_seed = seed_rows(form)
    override_list(form)
    return SettingsColumn(swap_size=swap_size, random_seed=random_seed, reuse_seed=reuse_seed, script=scripts())


def _mask_controls(form: Form) -> None:
    with gr.Column(visible=False, elem_id="inpaint_controls", elem_classes="settings-column") as group:
        with gr.Row():
            _slider(form, "mask_blur", "Mask blur", 0, 64, 1, 4)
            transparency = _slider(form, "mask_alpha", "Mask transparency", 0, 100, 1, 0, visible=False)
        with gr.Row():
            _radio(form, "inpainting_mask_invert", list(MASK_MODES), MASK_MODES[0], "Mask mode", elem_id="img2img_mask_mode")
            _radio(form, "inpainting_fill", list(CONTENT_LABELS), "original", "Masked content")
        with gr.Row():
            _radio(form, "inpaint_full_res", list(INPAINT_AREAS), INPAINT_AREAS[0], "Inpaint area")
            _slider(form, "inpaint_full_res_padding", "Only masked padding, pixels", 0, 256, 4, 32)
        _soft_inpainting(form)
        _outpainting(form)

    def shown(mode: str) -> list[Any]:
        return [gr.Column(visible=mode in MASKED), gr.Slider(visible=mode == "inpaint_sketch")]

    form["mode"].change(shown, form["mode"], [group, transparency], **QUIET)


def _soft_inpainting(form: Form) -> None:
    with gr.Group(elem_classes="folding"):
        wanted = _checkbox(form, "soft_inpainting_enabled", "Soft inpainting")
        with gr.Column(visible=False, elem_id=form.elem_id("soft_inpainting")) as body:
            gr.Markdown("Blends old and new by how bright the mask is: use a soft brush or more mask blur.")
            for first, second in zip(list(SOFT)[::2], list(SOFT)[1::2], strict=True):
                with gr.Row():
                    for name in (first, second):
                        _slider(form, name, *SOFT[name])
    wanted.change(_shown, wanted, body, **QUIET)


def _outpainting(form: Form) -> None:
    with gr.Group(elem_classes="folding"):
        wanted = _checkbox(form, "outpaint_enabled", "Outpainting")
        with gr.Column(visible=False, elem_id=form.elem_id("outpainting")) as body:
            gr.Markdown("By how many pixels the picture grows; its size is then the picture's own, and what is new is drawn as masked.")
            with gr.Row():
                for name, label in SIDES.items():
                    _slider(form, name, label, 0, 512, 8, 0)
    wanted.change(_shown, wanted, body, **QUIET)


def _dimensions(form: Form) -> gr.Button:
    with gr.Row(elem_classes="resize-kind"):
        kind = _radio(form, "resize_kind", [RESIZE_TO, RESIZE_BY], RESIZE_TO, "Size", elem_id="img2img_tabs_resize")
        gr.HTML('<span class="resized-size"></span>', elem_id="img2img_scale_resolution_preview", apply_default_css=False)
        detect = tool_button("📐", "img2img_detect_image_size_btn")
    with gr.Row(elem_classes="dimensions"):
        with gr.Column(scale=5, min_width=240) as to, gr.Row(elem_classes="dimensions"):
            swap_size = size_columns(form)
        with gr.Column(visible=False, scale=4, min_width=200) as by:
            _slider(form, "scale", "Scale", 0.05, 4.0, 0.01, 1.0)
        batch_column(form)
    sides = [form["width"], form["height"]]
    detect.click(None, sides, sides, js="(...sides) => webui.img2img.ownSize(sides)", **QUIET)

    def shown(chosen: str) -> list[Any]:
        return [gr.Column(visible=chosen != RESIZE_BY), gr.Column(visible=chosen == RESIZE_BY)]

    kind.change(shown, kind, [to, by], **QUIET)
    return swap_size


def _slider(form: Form, name: str, label: str, low: float, high: float, step: float, value: float, *, visible: bool = True) -> gr.Slider:
    return form.add(
        name,
        gr.Slider(low, high, value, step=step, label=label, elem_id=form.elem_id(name), interactive=True, min_width=120, visible=visible),
    )


def _radio(form: Form, name: str, choices: list[str], value: str, label: str, *, elem_id: str | None = None) -> gr.Radio:
    return form.add(
        name, gr.Radio(choices, value=value, label=label, elem_id=elem_id or form.elem_id(name), interactive=True, min_width=140)
    )


def _checkbox(form: Form, name: str, label: str) -> gr.Checkbox:
    return form.add(name, gr.Checkbox(False, label=label, elem_id=form.elem_id(name), interactive=True, min_width=120))


def _shown(wanted: bool) -> object:
    return gr.Column(visible=bool(wanted))
