"""The txt2img tab: lays out its parts and wires them to the queue. One click is one request is one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.gradio_ui.form import Form
from modules.gradio_ui.generation import wire_extend, wire_generate, wire_paste, wire_small_tools
from modules.gradio_ui.notices import Notices, Told
from modules.gradio_ui.parts.generation_settings import generation_settings
from modules.gradio_ui.parts.network_cards import network_tabs
from modules.gradio_ui.parts.output_panel import output_panel
from modules.gradio_ui.parts.pasted_report import pasted_report
from modules.gradio_ui.parts.presets import wire_presets
from modules.gradio_ui.parts.prompt_box import prompt_box
from modules.gradio_ui.parts.scripts import script_controls
from modules.gradio_ui.parts.styles import wire_styles


@dataclass(frozen=True, slots=True)
class Txt2ImgTab:
    form: Form


def txt2img_tab(context: AppContext, quick: Mapping[str, Any], notices: Notices, demo: gr.Blocks) -> Txt2ImgTab:
    """Lay out the tab inside the current Gradio context."""
    form = Form("txt2img")
    with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img") as tab:
        box = prompt_box(form)
        report = pasted_report("txt2img_pasted")
        with gr.Tabs(elem_id="txt2img_extra_tabs", selected="txt2img_generation"):
            with (
                gr.Tab("Generation", id="txt2img_generation", elem_id="txt2img_generation_tab"),
                gr.Row(elem_id="txt2img_body", equal_height=False),
            ):
                column = generation_settings(form, context.catalog.snapshot(), lambda: script_controls(form, context, notices))
                submitted = output_panel("txt2img")
            network_tabs("txt2img")
        # Inside the tab: whatever else lies between two tabs, as the styles' state would, shifts the row of tabs.
        wire_styles(context, form, notices, box.editor, box.apply_styles, box.edit_styles, demo, tab)
        wire_presets(context, form, notices, box.presets_editor, box.presets)
    wire_generate(context, form, quick, notices, box.generate.click, submitted, lambda values, make, _: Told([make(values)]))
    wire_extend(context, form, notices, column.script.extend, submitted)
    wire_paste(context, form, notices, box.paste, report)
    wire_small_tools(form, box, column)
    return Txt2ImgTab(form=form)
