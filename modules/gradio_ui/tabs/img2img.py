"""The img2img tab: the canvases, the controls below them and the result beside them, wired to the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.requests import GenerationRequest
from modules.gradio_ui.bindings.img2img import uploaded, with_picture
from modules.gradio_ui.bindings.img2img_batch import batch_files, batch_requests, is_at_this_machine
from modules.gradio_ui.form import Form
from modules.gradio_ui.generation import wire_extend, wire_generate, wire_paste, wire_small_tools
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.img2img_settings import img2img_settings
from modules.gradio_ui.parts.img2img_sources import MASKED, Sources, img2img_sources, wire_modes
from modules.gradio_ui.parts.network_cards import network_tabs
from modules.gradio_ui.parts.output_panel import output_panel
from modules.gradio_ui.parts.pasted_report import pasted_report
from modules.gradio_ui.parts.presets import wire_presets
from modules.gradio_ui.parts.prompt_box import prompt_box
from modules.gradio_ui.parts.scripts import script_controls
from modules.gradio_ui.parts.styles import wire_styles


@dataclass(frozen=True, slots=True)
class Img2ImgTab:
    form: Form
    sources: Sources


def img2img_tab(context: AppContext, quick: Mapping[str, Any], notices: Notices, demo: gr.Blocks) -> Img2ImgTab:
    """Lay out the tab inside the current Gradio context."""
    form = Form("img2img")
    with gr.Tab("img2img", id="img2img", elem_id="tab_img2img") as tab:
        box = prompt_box(form)
        report = pasted_report("img2img_pasted")
        # What the page's script uploaded for the click that is going on; see `bindings.img2img.uploaded`.
        inputs = gr.Textbox(visible="hidden", elem_id="img2img_inputs", label="Inputs", interactive=True)
        with gr.Tabs(elem_id="img2img_extra_tabs", selected="img2img_generation"):
            with (
                gr.Tab("Generation", id="img2img_generation", elem_id="img2img_generation_tab"),
                gr.Row(elem_id="img2img_body", equal_height=False),
            ):
                with gr.Column(elem_id="img2img_settings", elem_classes="settings-column", scale=1, min_width=320):
                    sources = img2img_sources(form)
                    column = img2img_settings(form, context.catalog.snapshot(), lambda: script_controls(form, context, notices))
                submitted = output_panel("img2img")
            network_tabs("img2img")
        # Inside the tab: whatever else lies between two tabs, as the styles' state would, shifts the row of tabs.
        wire_styles(context, form, notices, box.editor, box.apply_styles, box.edit_styles, demo, tab)
        wire_presets(context, form, notices, box.presets_editor, box.presets)
    _wire_click(context, form, quick, notices, box.generate, submitted, inputs, sources)
    wire_extend(context, form, notices, column.script.extend, submitted)
    wire_modes(form, sources)
    wire_paste(context, form, notices, box.paste, report)
    wire_small_tools(form, box, column)
    demo.load(_folders_shown, None, sources.folders, **QUIET)
    return Img2ImgTab(form=form, sources=sources)


def _folders_shown(request: gr.Request) -> Any:
    return gr.Row(visible=is_at_this_machine(request))


def _wire_click(
    context: AppContext,
    form: Form,
    quick: Mapping[str, Any],
    notices: Notices,
    button: gr.Button,
    submitted: gr.HTML,
    inputs: gr.Textbox,
    sources: Sources,
) -> None:
    def requests_of(values: Mapping[str, Any], make: Callable[[Mapping[str, Any]], GenerationRequest], request: gr.Request) -> Told:
        given = uploaded(str(values["inputs"] or ""))
        if given.mode == "batch":
            local = is_at_this_machine(request)
            files = batch_files(values, values["batch_files"] or (), values["batch_masks"] or (), local=local)
            return batch_requests(context, values, make, files, request.username or "")
        return Told([with_picture(make(values), values, given, masked=given.mode in MASKED)])

    # First the pictures, then the form: an upload takes as long as it takes, and the click is the form's as it is after it.
    sent = button.click(
        None,
        [form["mask_alpha"]],
        inputs,
        js="(transparency) => webui.img2img.inputs(transparency)",
        trigger_mode="multiple",
        **QUIET,
    )
    more = {"inputs": inputs, "batch_files": sources.files, "batch_masks": sources.masks}
    wire_generate(context, form, quick, notices, sent.then, submitted, requests_of, more)
