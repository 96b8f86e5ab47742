"""The Extras tab: finished pictures made larger and their faces restored; one, several or a folder, with the result beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.catalog import CODEFORMER, GFPGAN, Catalog
from modules.domain.extras import MAX_SIDE, NO_UPSCALER
from modules.gradio_ui.bindings.extras import SCALE_BY, SCALE_TO, extras_requests
from modules.gradio_ui.bindings.img2img_batch import is_at_this_machine
from modules.gradio_ui.form import Form
from modules.gradio_ui.generation import submit_together
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.output_panel import output_panel
from modules.gradio_ui.parts.prompt_box import tool_button

_PICTURE = """
<div class="picture-well" tabindex="0" aria-label="Picture to enlarge">
  <label class="well-empty"><span>Drop a picture here, paste it (Ctrl+V) or click to choose</span>
    <input type="file" accept="image/*,.tif,.tiff,.tga,.avif" aria-label="Choose a picture"></label>
  <img alt="" hidden>
  <div class="well-bar" hidden><span class="well-status"></span>
    <button type="button" class="tool-link well-choose">Replace</button>
    <button type="button" class="tool-link well-remove">✕ Remove</button></div>
</div>
"""

_ON_LOAD = """
const start = () => window.webui.extras.mount(element.querySelector('.picture-well'));
if (window.webui?.extras) start(); else addEventListener('webui-ready', start, {once: true});
"""


def extras_tab(context: AppContext, notices: Notices, demo: gr.Blocks) -> Form:
    """Lay out the tab inside the current Gradio context; its form."""
    form = Form("extras")
    with gr.Tab("Extras", id="extras", elem_id="tab_extras"):
        # What the page's script knows about the click that is going on; see `bindings.extras`.
        inputs = gr.Textbox(visible="hidden", elem_id="extras_inputs", label="Inputs", interactive=True)
        with gr.Row(elem_id="extras_body", equal_height=False):
            with gr.Column(elem_id="extras_settings", elem_classes="settings-column", scale=1, min_width=320):
                files, folder_page = _sources(form)
                generate = _generate_box()
                _sizes(form)
                _upscalers(form, context.catalog.snapshot())
                _faces(form, context.catalog.snapshot())
            submitted = output_panel("extras")
    demo.load(_page_shown, None, folder_page, **QUIET)

    def submit(data: dict[Any, Any], request: gr.Request) -> Told:
        values = {**form.values(data), "inputs": data[inputs]}
        told = extras_requests(context, values, data[files] or (), local=is_at_this_machine(request))
        jobs, left = submit_together(context, told.values, request.username or "")
        return Told([jobs[0].id], [*told.notes, *left])

    sent = generate.click(None, None, inputs, js="() => webui.extras.inputs()", trigger_mode="multiple", **QUIET)
    notices.on(sent.then, submit, {*form.components, inputs, files}, [submitted], trigger_mode="multiple")
    return form


def extras_upscaler_choices(catalog: Catalog) -> object:
    """The update of either dropdown for files that came or went; what is chosen stays."""
    return gr.Dropdown(choices=list(catalog.extras_upscalers))


def shown_for(kind: str) -> Callable[[Catalog], object]:
    """What updates a slider of this kind of face restorer for files that came or went: it is there where the weights are."""
    return lambda catalog: gr.Slider(visible=catalog.restorer_of(kind) is not None)


def _page_shown(request: gr.Request) -> Any:
    return gr.Tab(visible=is_at_this_machine(request))


def _sources(form: Form) -> tuple[gr.File, gr.Tab]:
    """Where pictures come from: (the uploads of a batch, the page of folders, hidden until it is known who asks)."""
    with gr.Tabs(elem_id="mode_extras", overflow_behavior="wrap"):
        with gr.Tab("Single Image", id="mode_extras_single", elem_id="extras_single_tab"):
            gr.HTML(_PICTURE, js_on_load=_ON_LOAD, apply_default_css=False, elem_id="extras_image")
        with gr.Tab("Batch Process", id="mode_extras_batch", elem_id="extras_batch_process_tab"):
            files = gr.File(
                label="Pictures: each becomes a job of its own",
                file_count="multiple",
                file_types=["image"],
                elem_id="extras_image_batch",
                interactive=True,
                height=160,
            )
        with gr.Tab("Batch from Directory", id="mode_extras_folder", elem_id="extras_batch_directory_tab", visible=False) as folder_page:
            labels = {
                "batch_input_dir": ("Input directory", "A folder of this machine; its pictures stay as they are."),
                "batch_output_dir": (
                    "Output directory",
                    "Results are copied there under their sources' names. Empty: none are.",
                ),
            }
            for name, (label, info) in labels.items():
                form.add(name, gr.Textbox("", label=label, info=info, elem_id=form.elem_id(name), interactive=True, min_width=160))
    return files, folder_page


def _generate_box() -> gr.Button:
    with gr.Row(elem_id="extras_generate_box", elem_classes="generate-box"):
        generate = gr.Button("Generate", variant="primary", elem_id="extras_generate", elem_classes="generate")
        gr.Button("Interrupt", elem_id="extras_interrupt", elem_classes="interrupt busy-only", min_width=60)
        gr.Button("Skip", elem_id="extras_skip", elem_classes="skip busy-only", min_width=60)
    return generate


def _sizes(form: Form) -> None:
    with gr.Row(elem_classes="resize-kind"):
        kind = gr.Radio([SCALE_BY, SCALE_TO], value=SCALE_BY, label="Size", elem_id="extras_tabs_resize", interactive=True, min_width=140)
        gr.HTML('<span class="resized-size"></span>', elem_id="extras_resolution_preview", apply_default_css=False)
    form.add("resize_kind", kind)
    with gr.Column(elem_id="extras_scale_by_tab") as by:
        _slider(form, "upscaling_resize", "Resize", 1, 8, 0.05, 4)
    with gr.Row(visible=False, elem_id="extras_scale_to_tab", elem_classes="dimensions") as to:
        limits: dict[str, Any] = {"minimum": 1, "maximum": MAX_SIDE, "precision": 0, "interactive": True, "min_width": 90}
        for name, label in (("upscaling_resize_w", "Width"), ("upscaling_resize_h", "Height")):
            form.add(name, gr.Number(512, label=label, elem_id=form.elem_id(name), **limits))
        swap = tool_button("⇅", "extras_res_switch_btn")
        form.add(
            "upscaling_crop",
            gr.Checkbox(True, label="Crop to fit", elem_id=form.elem_id("upscaling_crop"), interactive=True, min_width=110),
        )
    sides = [form["upscaling_resize_w"], form["upscaling_resize_h"]]
    swap.click(None, sides, sides, js="(width, height) => [height, width]", **QUIET)

    def shown(chosen: str) -> list[Any]:
        return [gr.Column(visible=chosen != SCALE_TO), gr.Row(visible=chosen == SCALE_TO)]

    kind.change(shown, kind, [by, to], **QUIET)


def _upscalers(form: Form, catalog: Catalog) -> None:
    with gr.Row():
        _upscaler(form, "upscaler_1", "Upscaler 1", catalog)
    with gr.Row():
        second = _upscaler(form, "upscaler_2", "Upscaler 2", catalog)
        visibility = _slider(form, "upscaler_2_visibility", "Upscaler 2 visibility", 0, 1, 0.001, 0, usable=False)

    def usable(chosen: str) -> Any:
        return gr.Slider(interactive=chosen != NO_UPSCALER)

    second.change(usable, second, visibility, **QUIET)


def _faces(form: Form, catalog: Catalog) -> None:
    rows = (
        (GFPGAN, (("gfpgan_visibility", "GFPGAN visibility"),)),
        (
            CODEFORMER,
            (
                ("codeformer_visibility", "CodeFormer visibility"),
                ("codeformer_weight", "CodeFormer weight (0 = maximum effect, 1 = minimum effect)"),
            ),
        ),
    )
    for kind, sliders in rows:
        with gr.Row():
            for name, label in sliders:
                _slider(form, name, label, 0, 1, 0.001, 0, visible=catalog.restorer_of(kind) is not None)


def _upscaler(form: Form, name: str, label: str, catalog: Catalog) -> gr.Dropdown:
    # Files come and go while the page is open: a label that is not listed is looked up when the job is accepted.
    labels = list(catalog.extras_upscalers)
    dropdown = gr.Dropdown(
        labels, value=NO_UPSCALER, label=label, elem_id=form.elem_id(name), interactive=True, min_width=160, allow_custom_value=True
    )
    return form.add(name, dropdown)


def _slider(
    form: Form, name: str, label: str, low: float, high: float, step: float, value: float, *, usable: bool = True, visible: bool = True
) -> gr.Slider:
    how: dict[str, Any] = {"interactive": usable, "visible": visible, "min_width": 160}
    return form.add(name, gr.Slider(low, high, value, step=step, label=label, elem_id=form.elem_id(name), **how))
