"""Where img2img begins from: the sub-tabs with their canvases, the "Copy image to" row, and a batch's files."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET
from modules.gradio_ui.parts.canvas import canvas

MODES = ("img2img", "sketch", "inpaint", "inpaint_sketch", "inpaint_upload", "batch")
"""The sub-tabs' ids, in A1111's order."""

MASKED = ("inpaint", "inpaint_sketch", "inpaint_upload", "batch")
"""The modes in which a part of the picture is drawn anew; a batch only where masks are given."""

_TITLES = ("img2img", "Sketch", "Inpaint", "Inpaint sketch", "Inpaint upload")
_TAB_IDS = {
    "img2img": "img2img_img2img_tab",
    "sketch": "img2img_img2img_sketch_tab",
    "inpaint": "img2img_inpaint_tab",
    "inpaint_sketch": "img2img_inpaint_sketch_tab",
    "inpaint_upload": "img2img_inpaint_upload_tab",
}
_CANVASES = {
    "img2img": (("img2img_image", "Picture to begin from"),),
    "sketch": (("img2img_sketch", "Picture to begin from, to paint on"),),
    "inpaint": (("img2maskimg", "Picture to inpaint: paint over what should change"),),
    "inpaint_sketch": (("inpaint_sketch", "Picture to inpaint: paint what should be there"),),
    "inpaint_upload": (("img_inpaint_base", "Picture to inpaint"), ("img_inpaint_mask", "Mask: white is drawn anew")),
}
_COPIES = (("img2img", "img2img"), ("sketch", "sketch"), ("inpaint", "inpaint"), ("inpaint_sketch", "inpaint sketch"))

METADATA = {
    "Prompt": ("prompt",),
    "Negative prompt": ("neg_prompt",),
    "Seed": ("seed", "subseed_show", "subseed", "subseed_strength"),
    "CFG scale": ("cfg_scale",),
    "Sampler": ("sampling", "scheduler"),
    "Steps": ("steps",),
}
"""What a batch may take from its pictures' own parameters: label -> controls."""


@dataclass(frozen=True, slots=True)
class Sources:
    """`pages` are the sub-tabs; `files` and `masks` are what was uploaded for a batch, `folders` the row that names folders instead."""

    pages: tuple[gr.Tab, ...]
    files: gr.File
    masks: gr.File
    folders: gr.Row


def img2img_sources(form: Form) -> Sources:
    """Lay out the sub-tabs; the row of folders is hidden until it is known who asks."""
    form.add("mode", gr.Textbox("img2img", visible="hidden", label="Mode", elem_id=form.elem_id("mode"), interactive=True))
    pages: list[gr.Tab] = []
    # No `selected`: Gradio would choose that one again after the tab was drawn, over what the script or a quick hand chose meanwhile.
    with gr.Tabs(elem_id="mode_img2img", overflow_behavior="wrap"):
        for mode, title in zip(MODES[:-1], _TITLES, strict=True):
            with gr.Tab(title, id=tab_of(mode), elem_id=_TAB_IDS[mode]) as page:
                pages.append(page)
                for slot, label in _CANVASES[mode]:
                    canvas(slot, label)
        with gr.Tab("Batch", id=tab_of("batch"), elem_id="img2img_batch_tab") as page:
            pages.append(page)
            files, masks = _batch_files()
            folders = _batch_folders(form)
            _batch_choices(form)
    _copy_row()
    return Sources(pages=tuple(pages), files=files, masks=masks, folders=folders)


def tab_of(mode: str) -> str:
    """The id of a mode's sub-tab: Gradio takes a tab for another one of the same id, also where that is in another row of tabs."""
    return f"mode_{mode}"


def wire_modes(form: Form, sources: Sources) -> None:
    """The chosen sub-tab is a value of the form like any other."""
    for mode, page in zip(MODES, sources.pages, strict=True):
        page.select(None, None, form["mode"], js=f"() => '{mode}'", **QUIET)


def _copy_row() -> None:
    with gr.Row(elem_id="img2img_copy_to_row", elem_classes="copy-row"):
        buttons = "".join(
            f'<button type="button" class="tool-link" data-copy="{mode}" id="img2img_copy_to_{mode}">{title}</button>'
            for mode, title in _COPIES
        )
        gr.HTML(f'<div class="copy-to"><span>Copy image to:</span>{buttons}</div>', apply_default_css=False, elem_id="img2img_copy_to")


def _batch_files() -> tuple[gr.File, gr.File]:
    def files(label: str, elem_id: str) -> gr.File:
        types = ["image"]
        return gr.File(label=label, file_count="multiple", file_types=types, elem_id=elem_id, interactive=True, height=140, min_width=160)

    with gr.Row():
        pictures = files("Pictures: each becomes a job of its own", "img2img_batch_upload")
        masks = files("Masks: one for all, or of the same names", "img2img_batch_inpaint_masks")
    return pictures, masks


def _batch_folders(form: Form) -> gr.Row:
    labels = {
        "batch_input_dir": ("Input directory", "A folder of this machine."),
        "batch_inpaint_mask_dir": ("Inpaint batch mask directory", "Required for inpaint batch processing only."),
    }
    with gr.Row(visible=False) as row:
        for name, (label, info) in labels.items():
            form.add(name, gr.Textbox("", label=label, info=info, elem_id=form.elem_id(name), interactive=True, min_width=160))
    return row


def _batch_choices(form: Form) -> None:
    with gr.Row():
        form.add(
            "batch_metadata",
            gr.Dropdown(
                list(METADATA),
                value=[],
                multiselect=True,
                label="Take from the pictures' metadata",
                elem_id=form.elem_id("batch_png_info_props"),
                interactive=True,
                min_width=200,
            ),
        )
        form.add(
            "batch_skip_done",
            gr.Checkbox(
                True,
                label="Leave out what is done",
                info="Files that were drawn before, or wait, with these very parameters.",
                elem_id=form.elem_id("batch_skip_done"),
                interactive=True,
                min_width=160,
            ),
        )
