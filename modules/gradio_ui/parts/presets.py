"""Presets: all of a form but its prompts and seeds under a name, brought back with a click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.gradio_ui.first_values import FirstValues, same
from modules.gradio_ui.form import Form, shown_value
from modules.gradio_ui.notices import Notices, Told
from modules.gradio_ui.parts.styles import is_unfolded

LEFT_ALONE = ("prompt", "neg_prompt", "styles", "seed", "subseed")
"""The controls that are no part of a preset: what one draws, not how."""

OF_THE_CHECKPOINT = ("width", "height", "cfg_scale")
"""The controls whose default is another one for another checkpoint: a preset holds them in any case."""


@dataclass(frozen=True, slots=True)
class PresetsEditor:
    """The editor's fields and buttons; `is_open` holds whether it is unfolded."""

    body: gr.Group
    is_open: gr.Checkbox
    name: gr.Dropdown
    use: gr.Button
    save: gr.Button
    delete: gr.Button


def presets_editor(tab: str) -> PresetsEditor:
    """The fold-out editor, closed."""
    is_open = is_unfolded(f"{tab}_presets_unfolded")
    with gr.Group(visible=False, elem_id=f"{tab}_presets_dialog", elem_classes="folding") as body, gr.Row(elem_classes="editor-head"):
        name = gr.Dropdown(
            [],
            label="Preset",
            elem_id=f"{tab}_preset",
            interactive=True,
            allow_custom_value=True,
            info="Choose one, or type a new name. It holds the whole form but the prompts, styles and seeds.",
            scale=4,
        )
        use = gr.Button("Use", variant="primary", elem_id=f"{tab}_preset_use", size="sm", min_width=80)
        save = gr.Button("Save the form", elem_id=f"{tab}_preset_save", size="sm", min_width=120)
        delete = gr.Button("Delete", variant="stop", elem_id=f"{tab}_preset_delete", size="sm", min_width=80)
    return PresetsEditor(body, is_open, name, use, save, delete)


def wire_presets(context: AppContext, form: Form, notices: Notices, editor: PresetsEditor, button: gr.Button) -> None:
    """Connect button and editor to the store. The form is complete by now."""
    store, first, tab = context.presets, FirstValues(context, [form]), form.tab
    allowed = form.choices()

    def unfold(is_open: bool) -> list[Any]:
        # Another page may have saved some meanwhile.
        return [not is_open, gr.Group(visible=not is_open), gr.update(choices=store.names(tab))]

    def use(name: str | None) -> Told:
        kept = store.find(tab, name or "")
        values, gone = first.builtin(), list[str]()
        for elem_id, value in kept.items():
            if elem_id not in values or (elem_id in allowed and not isinstance(value, list) and value not in allowed[elem_id]):
                gone.append(f"{elem_id.removeprefix(f'{tab}_')} ({value})")
            else:
                values[elem_id] = value
        notes = [f"The form is as preset {name} says."]
        if gone:
            notes.append(f"What it says of these is not there any more, they are at their default: {', '.join(gone)}.")
        return Told([gr.skip() if each in LEFT_ALONE else shown_value(each, values[form.elem_id(each)]) for each in form], notes)

    def save(name: str | None, *shown: Any) -> Told:
        builtin, values = first.builtin(), dict(zip(form, shown, strict=True))
        kept = {
            form.elem_id(each): value
            for each, value in values.items()
            if each in OF_THE_CHECKPOINT or (each not in LEFT_ALONE and not same(builtin[form.elem_id(each)], value))
        }
        store.save(tab, name or "", kept)
        said = f"Preset {name} saved: it sets {len(kept)} controls, all others are at their default."
        return Told([gr.update(choices=store.names(tab))], [said])

    def delete(name: str | None) -> Told:
        store.delete(tab, name or "")
        return Told([gr.update(choices=store.names(tab), value=None)], [f"Preset {name} deleted."])

    notices.on(button.click, unfold, [editor.is_open], [editor.is_open, editor.body, editor.name])
    notices.on(editor.use.click, use, [editor.name], form.components)
    notices.on(editor.save.click, save, [editor.name, *form.components], [editor.name])
    notices.on(editor.delete.click, delete, [editor.name], [editor.name])
