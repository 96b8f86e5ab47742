"""The X/Y/Z plot's controls: a row an axis, with a list where the axis has one, and buttons that fill it in and swap the axes."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.errors import InvalidRequest
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET
from modules.gradio_ui.parts.prompt_box import tool_button
from modules.scripts.script import Script
from modules.scripts.xyz.axes import NOTHING, axes_of
from modules.scripts.xyz.plot import LETTERS
from modules.scripts.xyz.ranges import join_values, split_values

_SWAPS = (("x", "y"), ("y", "z"), ("x", "z"))
_PARTS = ("type", "values", "values_dropdown")


def axis_rows(form: Form, script: Script, context: AppContext) -> None:
    """Lay the three axes out and put them into `form`."""
    names = [axis.name for axis in axes_of(form.tab) if not axis.missing]
    controls = {control.name: control for control in script.controls}
    fills = {letter: _axis_row(form, script, letter, names, str(controls[f"{letter}_type"].default)) for letter in LETTERS}
    with gr.Row():
        swaps = {
            pair: gr.Button(
                f"Swap {'/'.join(pair).upper()} axes",
                elem_id=f"{''.join(pair)}_grid_swap_axes_button",
                size="sm",
                min_width=100,
            )
            for pair in _SWAPS
        }
    part = {(letter, name): form[f"script_{script.slug}_{letter}_{name}"] for letter in LETTERS for name in _PARTS}
    for letter in LETTERS:
        _wire_fill(context, form.tab, [part[letter, name] for name in _PARTS], fills[letter])
    for (first, second), button in swaps.items():
        ours, theirs = [part[first, name] for name in _PARTS], [part[second, name] for name in _PARTS]
        button.click(None, [*ours, *theirs], [*ours, *theirs], js="(a, b, c, d, e, f) => [d, e, f, a, b, c]", **QUIET)


def wire_lists(form: Form, script: Script, context: AppContext) -> None:
    """Show each axis' list or its text, as its type and "Use text inputs" say, and carry the values over from one to the other.

    Values change only where a person chose something: what a reload brings back arrives in pieces, and must not be written over.
    """
    text_mode = form[f"script_{script.slug}_csv_mode"]

    def shown(name: str, wants_text: bool) -> list[Any]:
        choices = _choices(context, form.tab, name)
        listed = bool(choices) and not wants_text
        return [gr.Textbox(visible=name != NOTHING and not listed), gr.Dropdown(visible=listed, choices=choices)]

    def carried(name: str, typed: str, chosen: list[str], wants_text: bool) -> list[Any]:
        choices = _choices(context, form.tab, name)
        if not choices:
            return [gr.skip(), []]
        kept = [value for value in chosen or _split(typed) if value in choices]
        return [join_values(kept), []] if wants_text and kept else [gr.skip(), kept]

    for letter in LETTERS:
        kind, text, listed = (form[f"script_{script.slug}_{letter}_{name}"] for name in _PARTS)
        gr.on([kind.change, text_mode.change], shown, [kind, text_mode], [text, listed], **QUIET)
        gr.on([kind.input, text_mode.input], carried, [kind, text, listed, text_mode], [text, listed], **QUIET)


def _axis_row(form: Form, script: Script, letter: str, names: list[str], default: str) -> gr.Button:
    label = letter.upper()
    name = f"script_{script.slug}_{letter}"

    def elem_id(part: str) -> str:
        return script.elem_id(f"{letter}_{part}", form.tab)

    with gr.Row(elem_classes="script-row"):
        form.add(
            f"{name}_type",
            gr.Dropdown(names, value=default, label=f"{label} type", elem_id=elem_id("type"), interactive=True, min_width=150, scale=2),
        )
        form.add(
            f"{name}_values",
            gr.Textbox(
                "",
                lines=1,
                max_lines=6,
                label=f"{label} values",
                elem_id=elem_id("values"),
                interactive=True,
                visible=default != NOTHING,
                min_width=180,
                scale=3,
            ),
        )
        form.add(
            f"{name}_values_dropdown",
            gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label=f"{label} values",
                elem_id=elem_id("values_dropdown"),
                interactive=True,
                visible=False,
                min_width=180,
                scale=3,
            ),
        )
        return tool_button("📒", f"xyz_grid_fill_{letter}_tool_button")


def _wire_fill(context: AppContext, tab: str, parts: list[Any], button: gr.Button) -> None:
    kind, text, listed = parts

    def filled(name: str, typed: str, chosen: list[str]) -> list[Any]:
        choices = _choices(context, tab, name)
        if not choices:
            return [gr.skip(), gr.skip()]
        return [join_values(choices), gr.Dropdown(choices=choices, value=choices)]

    button.click(filled, [kind, text, listed], [text, listed], **QUIET)


def _choices(context: AppContext, tab: str, name: str) -> list[str]:
    axis = next((axis for axis in axes_of(tab) if axis.name == name), None)
    if axis is None or axis.choices is None:
        return []
    return list(axis.choices(context.catalog.snapshot(), context.styles.all()))


def _split(text: str) -> list[str]:
    try:
        return split_values(text)
    except InvalidRequest:
        # A text that is not finished yet: it stays in the textbox and is refused when it is used.
        return []
