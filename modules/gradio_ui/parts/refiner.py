"""Refiner: another checkpoint for the last steps, folded away until it is wanted."""

from __future__ import annotations

import gradio as gr

from modules.domain.catalog import Catalog
from modules.gradio_ui.form import NO_REFINER, Form


def refiner_controls(form: Form, catalog: Catalog) -> None:
    """Lay the controls out and put them into `form`."""
    with gr.Group(elem_classes="folding"):
        wanted = form.add(
            "enable_refiner", gr.Checkbox(False, label="Refiner", elem_id=form.elem_id("enable"), interactive=True, min_width=120)
        )
        with gr.Row(visible=False, elem_id=form.elem_id("refiner")) as body:
            form.add(
                "refiner_checkpoint",
                gr.Dropdown(
                    choices=[NO_REFINER, *(row.title for row in catalog.checkpoints)],
                    value=NO_REFINER,
                    label="Checkpoint",
                    info="Takes over for the rest of the steps.",
                    elem_id=form.elem_id("refiner_checkpoint"),
                    interactive=True,
                    # files come and go while the page is open: a title that is not listed is looked up when the job is accepted
                    allow_custom_value=True,
                    min_width=180,
                ),
            )
            form.add(
                "refiner_switch_at",
                gr.Slider(
                    0.01,
                    1.0,
                    0.8,
                    step=0.01,
                    label="Switch at",
                    info="Share of the way, by noise level.",
                    elem_id=form.elem_id("refiner_switch_at"),
                    interactive=True,
                    min_width=180,
                ),
            )
    wanted.change(_shown, wanted, body, queue=False, show_progress="hidden", api_visibility="private")


def refiner_choices(catalog: Catalog) -> object:
    """The update of the dropdown "Checkpoint" for files that came or went; what is chosen stays."""
    return gr.Dropdown(choices=[NO_REFINER, *(row.title for row in catalog.checkpoints)])


def _shown(wanted: bool) -> object:
    return gr.Row(visible=bool(wanted))
