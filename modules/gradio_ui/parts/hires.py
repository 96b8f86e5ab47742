"""Hires. fix: the second pass' controls in A1111's order, folded away until they are wanted."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.domain.catalog import LATENT_UPSCALERS, Catalog
from modules.gradio_ui.form import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE, Form


def hires_controls(form: Form, catalog: Catalog) -> None:
    """Lay the controls out and put them into `form`."""
    with gr.Group(elem_classes="folding"):
        with gr.Row(elem_classes="folding-head"):
            wanted = form.add("hr", gr.Checkbox(False, label="Hires. fix", elem_id=form.elem_id("hr"), interactive=True, min_width=120))
            gr.HTML('<span class="hires-size"></span>', elem_id=form.elem_id("hires_size"), apply_default_css=False)
        with gr.Column(visible=False, elem_id=form.elem_id("hires_fix")) as body:
            _how(form, catalog)
            _how_large(form)
            _with_what(form, catalog)
            _prompts(form)
    wanted.change(_shown, wanted, body, queue=False, show_progress="hidden", api_visibility="private")


def upscaler_choices(catalog: Catalog) -> object:
    """The update of the dropdown "Upscaler" for files that came or went; what is chosen stays."""
    return gr.Dropdown(choices=list(catalog.hires_upscalers))


def checkpoint_choices(catalog: Catalog) -> object:
    """The same of the dropdown "Checkpoint"."""
    return gr.Dropdown(choices=[SAME_CHECKPOINT, *(row.title for row in catalog.checkpoints)])


def _how(form: Form, catalog: Catalog) -> None:
    with gr.Row(elem_id=form.elem_id("hires_fix_row1")):
        labels, first = list(catalog.hires_upscalers), LATENT_UPSCALERS[0]
        # as with the checkpoint below: a label that is not listed is looked up when the job is accepted
        _add(form, "hr_upscaler", gr.Dropdown, choices=labels, value=first, label="Upscaler", min_width=150, allow_custom_value=True)
        _add(form, "hires_steps", gr.Slider, minimum=0, maximum=150, step=1, value=0, label="Hires steps", min_width=150)
        _add(form, "denoising_strength", gr.Slider, minimum=0, maximum=1, step=0.01, value=0.7, label="Denoising strength", min_width=150)


def _how_large(form: Form) -> None:
    with gr.Row(elem_id=form.elem_id("hires_fix_row2")):
        _add(form, "hr_scale", gr.Slider, minimum=1, maximum=4, step=0.05, value=2.0, label="Upscale by", min_width=150)
        _add(form, "hr_resize_x", gr.Slider, minimum=0, maximum=2048, step=8, value=0, label="Resize width to", min_width=150)
        _add(form, "hr_resize_y", gr.Slider, minimum=0, maximum=2048, step=8, value=0, label="Resize height to", min_width=150)


def _with_what(form: Form, catalog: Catalog) -> None:
    choices = {
        "hr_checkpoint": ("Checkpoint", SAME_CHECKPOINT, [row.title for row in catalog.checkpoints]),
        "hr_sampler": ("Sampling method", SAME_SAMPLER, [row.label for row in catalog.samplers]),
        "hr_scheduler": ("Schedule type", SAME_SCHEDULE, [row.label for row in catalog.schedules]),
    }
    with gr.Row(elem_id=form.elem_id("hires_fix_row3")):
        for name, (label, same, others) in choices.items():
            # files come and go while the page is open: a title that is not listed is looked up when the job is accepted
            custom = name == "hr_checkpoint"
            _add(form, name, gr.Dropdown, choices=[same, *others], value=same, label=label, min_width=150, allow_custom_value=custom)


def _prompts(form: Form) -> None:
    with gr.Row(elem_id=form.elem_id("hires_fix_row4")):
        for name, words in (("hires_prompt", "Prompt for the hires pass"), ("hires_neg_prompt", "Negative prompt for the hires pass")):
            label = "Hires prompt" if name == "hires_prompt" else "Hires negative prompt"
            _add(form, name, gr.Textbox, value="", label=label, lines=2, placeholder=f"{words}; empty for the same", min_width=200)


def _add(form: Form, name: str, kind: Any, **arguments: Any) -> None:
    form.add(name, kind(elem_id=form.elem_id(name), interactive=True, **arguments))


def _shown(wanted: bool) -> object:
    return gr.Column(visible=bool(wanted))
