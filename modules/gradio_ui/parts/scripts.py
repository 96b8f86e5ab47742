"""The Script dropdown and the controls of the chosen script, made from what the scripts declare of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.errors import InvalidRequest
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET, Notices
from modules.gradio_ui.parts.xyz import axis_rows, wire_lists
from modules.scripts.choices import UPSCALERS, choices_of
from modules.scripts.registry import SCRIPTS, find_script
from modules.scripts.script import Control, Script

NO_SCRIPT = "None"
MAX_LIST = 4 * 1024 * 1024
"""Bytes of a file of prompts."""


@dataclass(frozen=True, slots=True)
class ScriptPart:
    """What the tab wires up."""

    extend: gr.Button


def script_controls(form: Form, context: AppContext, notices: Notices) -> ScriptPart:
    """Lay them out in the current column and put them into `form`."""
    scripts = [script for script in SCRIPTS if script.fits(form.tab)]
    with gr.Column(elem_id=f"{form.tab}_script_container", elem_classes="settings-column"):
        with gr.Row(elem_classes="script-row"):
            chosen = form.add(
                "script_list",
                gr.Dropdown(
                    [NO_SCRIPT, *(script.name for script in scripts)],
                    value=NO_SCRIPT,
                    label="Script",
                    elem_id="script_list",
                    interactive=True,
                    min_width=180,
                    scale=3,
                ),
            )
            extend = gr.Button(
                "Go on with these values", elem_id=f"{form.tab}_script_extend", size="sm", visible=False, scale=1, min_width=180
            )
        bodies = [_body(form, script, context, notices) for script in scripts]

    def shown(name: str) -> list[Any]:
        return [gr.Button(visible=name != NO_SCRIPT), *(gr.Column(visible=script.name == name) for script in scripts)]

    chosen.change(shown, chosen, [extend, *bodies], **QUIET)
    return ScriptPart(extend)


def chosen_script(values: Mapping[str, Any], tab: str) -> Script | None:
    """The script that the form's values choose; None for none."""
    name = str(values.get("script_list") or NO_SCRIPT)
    if name == NO_SCRIPT:
        return None
    found = find_script(name, tab)
    if found is None:
        raise InvalidRequest(f"There is no script {name[:60]!r} here: choose one from the list.")
    return found


def script_values(values: Mapping[str, Any], script: Script) -> dict[str, Any]:
    """The values of the script's own controls, by name."""
    return {control.name: values.get(field_name(script, control)) for control in script.controls}


def field_name(script: Script, control: Control) -> str:
    """What the form calls a script's control."""
    return f"script_{script.slug}_{control.name}"


def script_upscaler_fields() -> list[str]:
    """The names, in their form, of the dropdowns of scripts that list the catalogue's upscalers."""
    return [field_name(script, control) for script in SCRIPTS for control in script.controls if control.choices == (UPSCALERS,)]


def _body(form: Form, script: Script, context: AppContext, notices: Notices) -> gr.Column:
    catalog, styles = context.catalog.snapshot(), context.styles.all()
    with gr.Column(visible=False, elem_id=script.elem_id("controls", form.tab), elem_classes="settings-column folding script-body") as body:
        if script.info:
            gr.Markdown(script.info, latex_delimiters=[])  # two dollars are no formula here
        special = _is_sweep(script)
        if special:
            axis_rows(form, script, context)
        waiting: list[Control] = []
        for control in script.controls:
            if control.kind == "unused" or (special and control.name[:2] in ("x_", "y_", "z_")):
                continue
            # Checkboxes stand side by side, everything else has its line.
            if control.kind == "checkbox":
                waiting.append(control)
                continue
            _checkboxes(form, script, waiting)
            _put(form, script, control, choices_of(control, form.tab, catalog, styles))
        _checkboxes(form, script, waiting)
        if any(control.name == "prompt_txt" for control in script.controls):
            _upload(form, script, notices)
        if special:
            wire_lists(form, script, context)
    return body


def _is_sweep(script: Script) -> bool:
    """Whether its lists of values depend on its axes, so that they are laid out by hand."""
    return any(control.name == "x_type" for control in script.controls)


def _checkboxes(form: Form, script: Script, waiting: list[Control]) -> None:
    if waiting:
        with gr.Row(elem_classes="script-flags"):
            for control in waiting:
                _put(form, script, control, ())
        waiting.clear()


def _put(form: Form, script: Script, control: Control, choices: tuple[str, ...]) -> None:
    common: dict[str, Any] = {
        "label": control.label,
        "elem_id": script.elem_id(control.name, form.tab),
        "interactive": True,
        "visible": control.shown,
        "min_width": 140,
    }
    if control.info:
        common["info"] = control.info
    value: Any = list(control.default) if control.multiple else control.default
    if control.kind == "checkbox":
        made: Any = gr.Checkbox(value, **common)
    elif control.kind == "slider":
        made = gr.Slider(control.low or 0, control.high or 0, value, step=control.step, **common)
    elif control.kind == "number":
        made = gr.Number(value, precision=0 if isinstance(value, int) else None, **common)
    elif control.kind == "radio":
        made = gr.Radio(list(choices), value=value, **common)
    elif control.kind == "checkboxes":
        made = gr.CheckboxGroup(list(choices), value=value, **common)
    elif control.kind == "dropdown":
        # Files come and go while the page is open: what is not listed is looked up when the run is accepted.
        free = control.multiple or control.choices[0].startswith("<")
        made = gr.Dropdown(list(choices), value=value, multiselect=control.multiple or None, allow_custom_value=free, **common)
    else:
        made = gr.Textbox(value, lines=control.lines, max_lines=max(control.lines, 12), **common)
    form.add(field_name(script, control), made)


def _upload(form: Form, script: Script, notices: Notices) -> None:
    """A file of prompts goes into the textbox, where one sees it, and from there into the run."""
    file = gr.File(
        label="Upload prompt inputs",
        file_types=["text"],
        elem_id=script.elem_id("file", form.tab),
        height=90,
        interactive=True,
    )
    text = form[f"script_{script.slug}_prompt_txt"]

    def read(path: str | None) -> list[Any]:
        return [gr.skip() if path is None else _text_of(Path(path))]

    notices.on(file.upload, read, file, [text])


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MAX_LIST:
        raise InvalidRequest(f"{path.name} is larger than {MAX_LIST // 1024**2} MB: take a part of it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path.name} is no text in UTF-8: save it as such.") from None
