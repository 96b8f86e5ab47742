"""The Train tab: a new word or a LoRA from some pictures, learnt on the checkpoint in use, with its loss curve and samples beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.training import DEFAULT_RATES
from modules.gradio_ui.bindings.img2img_batch import is_at_this_machine
from modules.gradio_ui.bindings.merger import may_write_models
from modules.gradio_ui.bindings.train import GOAL_LABELS, train_request
from modules.gradio_ui.form import DEFAULT_SIZE, Form
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.output_panel import output_panel

WORD, LORA = GOAL_LABELS

_TEMPLATES = {WORD: "a [name]\na picture of a [name]\n[name], [filewords]", LORA: "[filewords]"}


def train_tab(context: AppContext, quick: Mapping[str, Any], notices: Notices, demo: gr.Blocks) -> Form:
    """Lay out the tab inside the current Gradio context; its form."""
    form = Form("train")
    with gr.Tab("Train", id="train", elem_id="tab_train"), gr.Row(elem_id="train_body", equal_height=False):
        with gr.Column(elem_id="train_settings", elem_classes="settings-column", scale=1, min_width=320):
            _what(form)
            files, folder = _pictures(form)
            generate = _train_box()
            _how(form)
            word, lora = _word(form), _lora(form)
            _samples(form)
        submitted = output_panel("train")

    def chosen(goal: str) -> list[Any]:
        is_lora = goal == LORA
        return [gr.Row(visible=not is_lora), gr.Row(visible=is_lora), DEFAULT_RATES[GOAL_LABELS[goal]], _TEMPLATES[goal]]

    def kind_shown(goal: str) -> list[Any]:
        return [gr.Row(visible=goal != LORA), gr.Row(visible=goal == LORA)]

    form["goal"].input(chosen, form["goal"], [word, lora, form["learn_rate"], form["template"]], **QUIET)
    form["goal"].change(kind_shown, form["goal"], [word, lora], **QUIET)
    demo.load(_folder_shown, None, folder, **QUIET)
    checkpoint = quick["sd_model_checkpoint"]

    def submit(data: dict[Any, Any], request: gr.Request) -> Told:
        shown = data[checkpoint] if "sd_model_checkpoint" in context.settings.current.page.quicksettings else None
        who = {"local": is_at_this_machine(request), "allowed": may_write_models(request)}
        told = train_request(context, form.values(data), data[files] or (), shown or None, **who)
        job = context.queue.submit(told.values[0], source="ui", owner=request.username or "")
        return Told([job.id], told.notes)

    notices.on(generate.click, submit, {*form.components, files, checkpoint}, [submitted], trigger_mode="multiple")
    return form


def _folder_shown(request: gr.Request) -> Any:
    return gr.Textbox(visible=is_at_this_machine(request))


def _what(form: Form) -> None:
    with gr.Row():
        form.add(
            "goal", gr.Radio([WORD, LORA], value=WORD, label="What to train", elem_id=form.elem_id("goal"), interactive=True, min_width=200)
        )
        _text(form, "new_name", "Name", "Of the file, and what is written into a prompt.")


def _pictures(form: Form) -> tuple[gr.File, gr.Textbox]:
    """Where pictures come from: (the uploads, the folder's name, hidden until it is known who asks)."""
    files = gr.File(
        label="Pictures of it, and .txt files of the same names with their captions, if any",
        file_count="multiple",
        file_types=["image", ".txt"],
        elem_id="train_files",
        interactive=True,
        height=140,
    )
    folder = _text(
        form, "dataset_directory", "Dataset directory", "A folder of this machine with pictures, and captions beside them.", visible=False
    )
    info = "A line each. [name] is the new word, [filewords] the caption, or what the file's name says."
    _text(form, "template", "Captions", info, value=_TEMPLATES[WORD], lines=3)
    return files, folder


def _train_box() -> gr.Button:
    with gr.Row(elem_id="train_generate_box", elem_classes="generate-box"):
        generate = gr.Button("Train", variant="primary", elem_id="train_generate", elem_classes="generate")
        gr.Button("Interrupt", elem_id="train_interrupt", elem_classes="interrupt busy-only", min_width=60)
    return generate


def _how(form: Form) -> None:
    with gr.Row():
        _number(form, "steps", "Steps", 500, precision=0)
        _number(form, "batch_size", "Batch size", 4, precision=0)
        _number(form, "learn_rate", "Learning rate", DEFAULT_RATES["embedding"])
    with gr.Row():
        _number(form, "width", "Width", DEFAULT_SIZE, precision=0)
        _number(form, "height", "Height", DEFAULT_SIZE, precision=0)
        _number(form, "seed", "Seed", 1, precision=0)
    with gr.Row():
        _check(form, "mirrored", "Show half of them mirrored")
        _check(form, "anew", "Begin anew", "Else a training of this name is gone on with.")


def _word(form: Form) -> gr.Row:
    with gr.Row(elem_id="train_word") as row:
        _number(form, "nvpt", "Vectors per token", 4, precision=0)
        _text(form, "initialization_text", "Initialization text", "Words whose meaning it begins with.", value="*")
    return row


def _lora(form: Form) -> gr.Row:
    with gr.Row(visible=False, elem_id="train_lora") as row:
        _number(form, "rank", "Rank", 8, precision=0)
        _number(form, "alpha", "Alpha", 8)
        _check(form, "convolutions", "Convolutions too", "For styles and shapes.")
        _check(form, "text_encoder", "Text encoder too")
    return row


def _samples(form: Form) -> None:
    with gr.Row():
        _text(form, "sample_prompt", "Sample prompt", "Drawn with what is learnt so far, at the size above.")
        _number(form, "create_image_every", "Draw a sample every N steps", 100, info="0 draws none.", precision=0)


def _text(
    form: Form, name: str, label: str, info: str | None = None, *, value: str = "", lines: int = 1, visible: bool = True
) -> gr.Textbox:
    box = gr.Textbox(
        value, label=label, info=info, lines=lines, elem_id=form.elem_id(name), interactive=True, min_width=160, visible=visible
    )
    return form.add(name, box)


def _number(form: Form, name: str, label: str, value: float, *, info: str | None = None, precision: int | None = None) -> None:
    form.add(
        name, gr.Number(value, label=label, info=info, precision=precision, elem_id=form.elem_id(name), interactive=True, min_width=90)
    )


def _check(form: Form, name: str, label: str, info: str | None = None) -> None:
    form.add(name, gr.Checkbox(False, label=label, info=info, elem_id=form.elem_id(name), interactive=True, min_width=120))
