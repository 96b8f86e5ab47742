"""Styles: which ones a click adds to the prompt, a button that writes them into it for good, and a small editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.styles import Style
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import Notices, Told
from modules.prompts.styles import with_styles


@dataclass(frozen=True, slots=True)
class StylesEditor:
    """The editor's fields and buttons."""

    body: gr.Group
    name: gr.Dropdown
    prompt: gr.Textbox
    negative: gr.Textbox
    take: gr.Button
    save: gr.Button
    delete: gr.Button


def styles_choice(form: Form) -> gr.Dropdown:
    """The list of styles to use, as an input of `form`."""
    return form.add(
        "styles",
        gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="Styles",
            elem_id=form.elem_id("styles"),
            interactive=True,
            # what a browser remembers may be gone: the click says so, and keeps the list
            allow_custom_value=True,
            min_width=120,
        ),
    )


def is_unfolded(elem_id: str) -> gr.Checkbox:
    """Whether an editor is unfolded, unseen. `gr.State` would keep a connection of each open page busy for good, and browsers have six."""
    return gr.Checkbox(False, visible="hidden", label="unfolded", elem_id=elem_id)


def styles_editor(tab: str) -> StylesEditor:
    """The fold-out editor, closed."""
    with gr.Group(visible=False, elem_id=f"{tab}_styles_dialog", elem_classes="folding") as body:
        with gr.Row(elem_classes="editor-head"):
            name = gr.Dropdown(
                [],
                label="Style",
                elem_id=f"{tab}_edit_style_select",
                interactive=True,
                allow_custom_value=True,
                info="Choose one, or type a new name.",
                scale=4,
            )
            take = gr.Button("Take the prompts above", elem_id=f"{tab}_edit_style_copy", size="sm", min_width=120)
            save = gr.Button("Save", variant="primary", elem_id=f"{tab}_edit_style_save", size="sm", min_width=80)
            delete = gr.Button("Delete", variant="stop", elem_id=f"{tab}_edit_style_delete", size="sm", min_width=80)
        hint = "{prompt} stands for the prompt itself; without it the text goes after the prompt"
        with gr.Row():
            prompt = gr.Textbox(label="Style prompt", info=hint, lines=2, elem_id=f"{tab}_edit_style_prompt", interactive=True)
            negative = gr.Textbox(
                label="Style negative prompt", info=hint, lines=2, elem_id=f"{tab}_edit_style_neg_prompt", interactive=True
            )
    return StylesEditor(body, name, prompt, negative, take, save, delete)


def wire_styles(
    context: AppContext,
    form: Form,
    notices: Notices,
    editor: StylesEditor,
    apply: gr.Button,
    edit: gr.Button,
    demo: gr.Blocks,
    tab: gr.Tab,
) -> None:
    """Connect list, buttons and editor to the store. Whoever comes back to `tab` finds the styles that were made elsewhere."""
    store, shown = context.styles, is_unfolded(form.elem_id("styles_unfolded"))

    def names() -> list[str]:
        return [style.name for style in store.all()]

    def listed() -> Told:
        return Told([gr.update(choices=names()), gr.update(choices=names())], store.problems)

    def write(prompt: str, negative: str, chosen: list[str]) -> list[Any]:
        styles = [store.find(name) for name in chosen]
        added = with_styles(prompt, [style.prompt for style in styles])
        return [added, with_styles(negative, [style.negative_prompt for style in styles]), []]

    def load(name: str | None) -> list[Any]:
        known = {style.name: style for style in store.all()}
        style = known.get(name or "")
        return [style.prompt, style.negative_prompt] if style else [gr.skip(), gr.skip()]

    def save(name: str | None, prompt: str, negative: str) -> Told:
        store.save(Style(name=name or "", prompt=prompt, negative_prompt=negative))
        return Told([gr.update(choices=names()), gr.update(choices=names())], [f"Style {name} saved."])

    def delete(name: str | None, chosen: list[str]) -> Told:
        store.delete(name or "")
        left = [each for each in chosen if each != name]
        return Told([gr.update(choices=names(), value=left), gr.update(choices=names(), value=None), "", ""], [f"Style {name} deleted."])

    texts = [form["prompt"], form["neg_prompt"]]
    fields = [editor.prompt, editor.negative]
    both = [form["styles"], editor.name]
    notices.on(demo.load, listed, None, both)
    notices.on(tab.select, lambda: listed().values, None, both)
    notices.on(apply.click, write, [*texts, form["styles"]], [*texts, form["styles"]])
    notices.on(edit.click, lambda open_: [not open_, gr.Group(visible=not open_)], [shown], [shown, editor.body])
    notices.on(editor.name.change, load, [editor.name], fields)
    notices.on(editor.take.click, lambda prompt, negative: [prompt, negative], texts, fields)
    notices.on(editor.save.click, save, [editor.name, *fields], both)
    notices.on(editor.delete.click, delete, [editor.name, form["styles"]], [*both, *fields])
