"""The column of controls below the prompt: sampler, size, batch, CFG and seed, in A1111's order and with its defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from modules.domain.catalog import Catalog
from modules.gradio_ui.form import DEFAULT_GUIDANCE, DEFAULT_SIZE, Form
from modules.gradio_ui.parts.hires import hires_controls
from modules.gradio_ui.parts.prompt_box import tool_button
from modules.gradio_ui.parts.refiner import refiner_controls
from modules.gradio_ui.parts.scripts import ScriptPart


@dataclass(frozen=True, slots=True)
class SettingsColumn:
    """The buttons that the tab wires up."""

    swap_size: gr.Button
    random_seed: gr.Button
    reuse_seed: gr.Button
    script: ScriptPart


def generation_settings(form: Form, catalog: Catalog, scripts: Callable[[], ScriptPart]) -> SettingsColumn:
    """Lay out txt2img's column and put its inputs into `form`; `scripts` lays out those of the scripts, at its end."""
    with gr.Column(elem_id=f"{form.tab}_settings", elem_classes="settings-column", scale=1, min_width=320):
        sampler_row(form, catalog)
        hires_controls(form, catalog)
        refiner_controls(form, catalog)
        with gr.Row(elem_classes="dimensions"):
            swap_size = size_columns(form)
            batch_column(form)
        cfg_scale(form)
        random_seed, reuse_seed = seed_rows(form)
        override_list(form)
        script = scripts()
    return SettingsColumn(swap_size=swap_size, random_seed=random_seed, reuse_seed=reuse_seed, script=script)


def sampler_row(form: Form, catalog: Catalog) -> None:
    """Sampling method, schedule type and steps."""
    samplers = [row.label for row in catalog.samplers]
    schedules = [row.label for row in catalog.schedules]
    with gr.Row(elem_id=f"sampler_selection_{form.tab}"):
        form.add(
            "sampling",
            gr.Dropdown(
                samplers, value=samplers[0], label="Sampling method", elem_id=form.elem_id("sampling"), interactive=True, min_width=140
            ),
        )
        form.add(
            "scheduler",
            gr.Dropdown(
                schedules, value=schedules[0], label="Schedule type", elem_id=form.elem_id("scheduler"), interactive=True, min_width=120
            ),
        )
        form.add(
            "steps",
            gr.Slider(1, 150, 20, step=1, label="Sampling steps", elem_id=form.elem_id("steps"), interactive=True, min_width=180, scale=2),
        )


def size_columns(form: Form) -> gr.Button:
    """Width and height, and beside them the button that swaps them, which is returned."""
    with gr.Column(elem_id=f"{form.tab}_column_size", scale=4, min_width=200):
        for name, label in (("width", "Width"), ("height", "Height")):
            form.add(name, gr.Slider(64, 2048, DEFAULT_SIZE, step=8, label=label, elem_id=form.elem_id(name), interactive=True))
    with gr.Column(elem_id=f"{form.tab}_dimensions_row", elem_classes="dimensions-tools", scale=0, min_width=44):
        return tool_button("⇅", f"{form.tab}_res_switch_btn")


def batch_column(form: Form) -> None:
    """Batch count and batch size."""
    with gr.Column(elem_id=f"{form.tab}_column_batch", scale=3, min_width=180):
        form.add("batch_count", gr.Slider(1, 100, 1, step=1, label="Batch count", elem_id=form.elem_id("batch_count"), interactive=True))
        form.add("batch_size", gr.Slider(1, 8, 1, step=1, label="Batch size", elem_id=form.elem_id("batch_size"), interactive=True))


def cfg_scale(form: Form) -> None:
    """CFG Scale."""
    form.add(
        "cfg_scale", gr.Slider(1, 30, DEFAULT_GUIDANCE, step=0.5, label="CFG Scale", elem_id=form.elem_id("cfg_scale"), interactive=True)
    )


def override_list(form: Form) -> None:
    """The settings of a pasted picture that hold for the next jobs; hidden while there are none."""
    form.add(
        "override_settings",
        gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="Override settings",
            info="Settings of a pasted picture that differ from yours; they hold for these jobs only.",
            elem_id=form.elem_id("override_settings"),
            interactive=True,
            visible=False,
            allow_custom_value=True,
        ),
    )


def seed_rows(form: Form) -> tuple[gr.Button, gr.Button]:
    """Seed, variation seed and its strength; returns the buttons "random" and "reuse"."""
    with gr.Row(elem_id=f"{form.tab}_seed_row", elem_classes="seed-row"):
        form.add("seed", gr.Number(-1, label="Seed", precision=0, elem_id=form.elem_id("seed"), interactive=True, min_width=120))
        random_seed = tool_button("🎲", f"{form.tab}_random_seed")
        reuse_seed = tool_button("♻", f"{form.tab}_reuse_seed")
        show = form.add(
            "subseed_show", gr.Checkbox(False, label="Extra", elem_id=form.elem_id("subseed_show"), interactive=True, scale=0, min_width=80)
        )
    with gr.Column(visible=False, elem_id=f"{form.tab}_seed_extras") as extras:
        with gr.Row():
            form.add("subseed", gr.Number(-1, label="Variation seed", precision=0, elem_id=form.elem_id("subseed"), interactive=True))
            form.add(
                "subseed_strength",
                gr.Slider(0, 1, 0, step=0.01, label="Variation strength", elem_id=form.elem_id("subseed_strength"), interactive=True),
            )
        with gr.Row():
            for side, label in (("w", "Resize seed from width"), ("h", "Resize seed from height")):
                name = f"seed_resize_from_{side}"
                form.add(name, gr.Slider(0, 2048, 0, step=8, label=label, elem_id=form.elem_id(name), interactive=True))
    show.change(_show_extras, show, extras, queue=False, show_progress="hidden", api_visibility="private")
    return random_seed, reuse_seed


def _show_extras(shown: bool) -> object:
    return gr.Column(visible=bool(shown))
