"""The Checkpoint Merger tab: two or three checkpoints become a new one, and from there the one to draw with."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.block_weights import PRESETS
from modules.domain.catalog import Catalog
from modules.domain.merging import (
    ADD_DIFFERENCE,
    CKPT,
    CONFIG_SOURCES,
    FIRST_OF_ALL,
    METHODS,
    NO_INTERPOLATION,
    NO_VAE,
    SAFETENSORS,
    WEIGHTED_SUM,
)
from modules.gradio_ui.bindings.merger import FORMULAS, NOT_ALLOWED, may_write_models, merge_request
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET, Notices
from modules.gradio_ui.parts.output_panel import output_panel
from modules.gradio_ui.parts.prompt_box import tool_button

MODELS = {
    "primary_model_name": "Primary model (A)",
    "secondary_model_name": "Secondary model (B)",
    "tertiary_model_name": "Tertiary model (C)",
}

_LOOK_AGAIN = "() => { webui.find('#refresh_sd_model_checkpoint')?.click(); }"

_RESULT = '<div class="merge-result" role="status"></div>'


@dataclass(frozen=True, slots=True)
class MergerTab:
    """`use` makes the file that `chosen` names, filled by the page's script, the checkpoint to draw with."""

    form: Form
    merge: gr.Button
    use: gr.Button
    chosen: gr.Textbox


def merger_tab(context: AppContext, notices: Notices, demo: gr.Blocks) -> MergerTab:
    """Lay out the tab inside the current Gradio context."""
    form = Form("modelmerger")
    with gr.Tab("Checkpoint Merger", id="modelmerger", elem_id="tab_modelmerger"), gr.Row(equal_height=False):
        with gr.Column(elem_id="modelmerger_settings", elem_classes="settings-column", scale=1, min_width=320):
            _models(form, context.catalog.snapshot())
            _method(form)
            _text(form, "custom_name", "Custom Name (Optional)", "Empty: an automatic name such as 0.7(A) + 0.3(B).")
            _file(form, context.catalog.snapshot())
            _more(form)
        with gr.Column(scale=1, min_width=320):
            # beside the form rather than below it: whoever presses Merge sees how far it is
            warning = gr.HTML(_warning(), visible=False, elem_id="modelmerger_not_allowed", apply_default_css=False)
            with gr.Row(elem_classes="generate-box"):
                merge = gr.Button("Merge", variant="primary", elem_id="modelmerger_merge", elem_classes="generate")
                gr.Button("Interrupt", elem_id="modelmerger_interrupt", elem_classes="interrupt busy-only", min_width=60)
            with gr.Row(elem_id="modelmerger_result_row"):
                gr.HTML(_RESULT, elem_id="modelmerger_result", apply_default_css=False)
                use = gr.Button("Use it", elem_id="modelmerger_use", min_width=100, scale=0)
            submitted = output_panel("modelmerger")
        chosen = gr.Textbox(visible="hidden", elem_id="modelmerger_chosen", label="Result", interactive=True)
    demo.load(_page_shown, None, [merge, warning], **QUIET)

    def submit(data: dict[Any, Any], request: gr.Request) -> list[Any]:
        wanted = merge_request(context, form.values(data), allowed=may_write_models(request))
        return [context.queue.submit(wanted, source="ui", owner=request.username or "").id]

    notices.on(merge.click, submit, set(form.components), [submitted], trigger_mode="multiple")
    return MergerTab(form, merge, use, chosen)


def merger_model_choices(catalog: Catalog) -> object:
    """The update of a dropdown of models for files that came or went; what is chosen stays."""
    return gr.Dropdown(choices=_mergeable(catalog))


def merger_vae_choices(catalog: Catalog) -> object:
    """The update of the dropdown of VAEs for files that came or went; what is chosen stays."""
    return gr.Dropdown(choices=[NO_VAE, *(info.name for info in catalog.vaes)])


def _page_shown(request: gr.Request) -> list[Any]:
    allowed = may_write_models(request)
    return [gr.Button(interactive=allowed), gr.HTML(visible=not allowed)]


def _warning() -> str:
    return f'<p class="merge-warning">{html.escape(NOT_ALLOWED)}</p>'


def _mergeable(catalog: Catalog) -> list[str]:
    return [info.name for info in catalog.checkpoints if info.format != "diffusers"]


def _models(form: Form, catalog: Catalog) -> None:
    gr.HTML(
        "<p>A new checkpoint is made of two or three others, in the folder of checkpoints. Those stay as they are.</p>",
        elem_classes="merge-words",
        apply_default_css=False,
    )
    with gr.Row(elem_id="modelmerger_models"):
        for letter, (name, label) in zip("ABC", MODELS.items(), strict=True):
            with gr.Column(min_width=200), gr.Row(elem_classes="merge-model"):
                # Files come and go while the page is open: a name that is not listed is looked up when the job is accepted.
                dropdown = gr.Dropdown(
                    _mergeable(catalog),
                    value=None,
                    label=label,
                    elem_id=form.elem_id(name),
                    interactive=letter != "C",
                    allow_custom_value=True,
                    min_width=140,
                )
                form.add(name, dropdown)
                tool_button("🔄", f"refresh_checkpoint_{letter}").click(None, None, None, js=_LOOK_AGAIN, **QUIET)


def _method(form: Form) -> None:
    amount = form.add(
        "interp_amount",
        gr.Slider(
            0,
            1,
            0.3,
            step=0.05,
            label="Multiplier (M) - set to 0 to get model A",
            elem_id=form.elem_id("interp_amount"),
            interactive=True,
        ),
    )
    method = _radio(form, "interp_method", "Interpolation Method", METHODS, WEIGHTED_SUM)
    words = gr.HTML(_formula(WEIGHTED_SUM), elem_id="modelmerger_interp_description", elem_classes="merge-words", apply_default_css=False)
    with gr.Accordion("Block weights", open=False, elem_id="modelmerger_blocks"):
        blocks = _text(
            form,
            "block_weights",
            "M for each block of the UNet (MBW)",
            f"Numbers with BASE's first (26 for SD1 and SD2, 20 for SDXL), lines such as IN00: 0.2, or {', '.join(PRESETS)}. "
            "Empty: M everywhere. BASE is all that is in no block.",
            lines=3,
        )

    def chosen(wanted: str) -> list[Any]:
        merges = wanted != NO_INTERPOLATION
        return [
            _formula(wanted),
            gr.Dropdown(interactive=merges),
            gr.Dropdown(interactive=wanted == ADD_DIFFERENCE),
            gr.Slider(interactive=merges),
            gr.Textbox(interactive=merges),
        ]

    method.change(chosen, method, [words, form["secondary_model_name"], form["tertiary_model_name"], amount, blocks], **QUIET)


def _file(form: Form, catalog: Catalog) -> None:
    with gr.Row():
        _radio(
            form,
            "checkpoint_format",
            "Checkpoint format",
            (CKPT, SAFETENSORS),
            SAFETENSORS,
            "A .ckpt can hold a program: none are written.",
        )
        form.add(
            "save_as_half",
            gr.Checkbox(False, label="Save as float16", elem_id=form.elem_id("save_as_half"), interactive=True, min_width=150),
        )
    _radio(form, "config_method", "Copy config from", CONFIG_SOURCES, FIRST_OF_ALL, "Whose .yaml is laid beside the result.")
    with gr.Row(elem_classes="merge-model"):
        vaes = [NO_VAE, *(info.name for info in catalog.vaes)]
        vae = gr.Dropdown(
            vaes,
            value=NO_VAE,
            label="Bake in VAE",
            elem_id=form.elem_id("bake_in_vae"),
            interactive=True,
            allow_custom_value=True,
            min_width=140,
        )
        form.add("bake_in_vae", vae)
        tool_button("🔄", "modelmerger_refresh_bake_in_vae").click(None, None, None, js=_LOOK_AGAIN, **QUIET)


def _more(form: Form) -> None:
    _text(form, "loras", "LoRAs to put in", "They become part of the result: <lora:name:0.8>, as many as you like.")
    _text(form, "discard_weights", "Discard weights with matching name", r"A regular expression, such as ^model_ema\. for averages.")
    with gr.Accordion("Metadata", open=False, elem_id="modelmerger_metadata"):
        for name, label in (
            ("add_merge_recipe", "Add merge recipe metadata"),
            ("copy_metadata_fields", "Copy metadata from merged models"),
        ):
            form.add(name, gr.Checkbox(True, label=label, elem_id=form.elem_id(name), interactive=True))


def _formula(method: str) -> str:
    return f"<p>{html.escape(FORMULAS[method])}</p>" if method in FORMULAS else ""


def _text(form: Form, name: str, label: str, info: str, lines: int = 1) -> gr.Textbox:
    box = gr.Textbox("", label=label, info=info, lines=lines, max_lines=max(lines, 8), elem_id=form.elem_id(name), interactive=True)
    return form.add(name, box)


def _radio(form: Form, name: str, label: str, choices: tuple[str, ...], value: str, info: str | None = None) -> gr.Radio:
    radio = gr.Radio(list(choices), value=value, label=label, info=info, elem_id=form.elem_id(name), interactive=True, min_width=200)
    return form.add(name, radio)
