"""The top row of a generation tab: prompt, negative prompt, token counters, Generate and the small tools."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from modules.gradio_ui.form import Form
from modules.gradio_ui.parts.presets import PresetsEditor, presets_editor
from modules.gradio_ui.parts.styles import StylesEditor, styles_choice, styles_editor

_PLACEHOLDER = "Prompt\n(Ctrl+Enter to generate, Alt+Enter to skip, Esc to interrupt; drop a picture here to read its settings)"
_PLAIN_TEXT = gr.InputHTMLAttributes(spellcheck=False, autocomplete="off")


@dataclass(frozen=True, slots=True)
class PromptBox:
    """The buttons that the tab wires up; the texts themselves are in the form."""

    generate: gr.Button
    paste: gr.Button
    clear: gr.Button
    apply_styles: gr.Button
    edit_styles: gr.Button
    editor: StylesEditor
    presets: gr.Button
    presets_editor: PresetsEditor


def prompt_box(form: Form, *, prompt: str = "", negative: str = "") -> PromptBox:
    """Lay out the row. Interrupt and Skip are plain buttons that the page's script wires to the running job's own routes."""
    tab = form.tab
    with gr.Row(elem_id=f"{tab}_toprow", elem_classes="toprow"):
        with gr.Column(elem_classes="prompt-container", scale=6, min_width=320):
            form.add(
                "prompt",
                gr.Textbox(
                    label="Prompt",
                    show_label=False,
                    value=prompt,
                    lines=3,
                    max_lines=12,
                    placeholder=_PLACEHOLDER,
                    elem_id=form.elem_id("prompt"),
                    elem_classes="prompt",
                    interactive=True,
                    html_attributes=_PLAIN_TEXT,
                ),
            )
            form.add(
                "neg_prompt",
                gr.Textbox(
                    label="Negative prompt",
                    show_label=False,
                    value=negative,
                    lines=2,
                    max_lines=12,
                    placeholder="Negative prompt",
                    elem_id=form.elem_id("neg_prompt"),
                    elem_classes="prompt",
                    interactive=True,
                    html_attributes=_PLAIN_TEXT,
                ),
            )
        with gr.Column(elem_id=f"{tab}_actions_column", elem_classes="actions", scale=1, min_width=200):
            with gr.Row(elem_id=f"{tab}_generate_box", elem_classes="generate-box"):
                generate = gr.Button("Generate", variant="primary", elem_id=f"{tab}_generate", elem_classes="generate")
                gr.Button("Interrupt", elem_id=f"{tab}_interrupt", elem_classes="interrupt busy-only", min_width=60)
                gr.Button("Skip", elem_id=f"{tab}_skip", elem_classes="skip busy-only", min_width=60)
            with gr.Row(elem_id=f"{tab}_tools", elem_classes="tools"):
                paste = tool_button("↙", f"{tab}_paste")
                clear = tool_button("🗑", f"{tab}_clear_prompt")
                apply_styles = tool_button("📋", f"{tab}_style_apply")
                edit_styles = tool_button("🖌", f"{tab}_styles_edit_button")
                presets = tool_button("🎛", f"{tab}_presets_button")
            styles_choice(form)
    return PromptBox(
        generate=generate,
        paste=paste,
        clear=clear,
        apply_styles=apply_styles,
        edit_styles=edit_styles,
        editor=styles_editor(tab),
        presets=presets,
        presets_editor=presets_editor(tab),
    )


def tool_button(icon: str, elem_id: str) -> gr.Button:
    """A square button. Its tooltip, also its name for screen readers, is in `static/hints.js`: Gradio's buttons take none."""
    return gr.Button(icon, elem_id=elem_id, elem_classes="tool", min_width=36, scale=0, size="sm")
