"""The bar on top: checkpoint, VAE, clip skip, or whichever settings the user wants there.

Every setting has its control here, and those that `quicksettings_list` names are visible: so a change of the list needs no restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from modules.domain.catalog import Catalog
from modules.gradio_ui.parts.prompt_box import tool_button
from modules.settings.rows import SettingRow, rows
from modules.settings.schema import Settings


def quicksettings(settings: Settings, catalog: Catalog) -> tuple[dict[str, Any], gr.Button]:
    """Lay out the bar; returns the controls by A1111's option key, and the refresh button."""
    controls: dict[str, Any] = {}
    with gr.Row(elem_id="quicksettings"):
        for row in sorted((row for row in rows() if not row.control.host), key=lambda row: _order(row, settings)):
            shown = row.control.key in settings.page.quicksettings
            controls[row.control.key] = setting_control(
                row, settings, catalog, elem_id=f"setting_{row.control.key}", visible=shown, info=False
            )
        refresh = tool_button("🔄", "refresh_sd_model_checkpoint")
    return controls, refresh


def setting_control(row: SettingRow, settings: Settings, catalog: Catalog, *, elem_id: str, visible: bool = True, info: bool = True) -> Any:
    """The Gradio control for one setting, holding its current value, with the explaining line below its label if `info`."""
    control, value = row.control, getattr(getattr(settings, row.section), row.name)
    common: dict[str, Any] = {"label": control.label, "elem_id": elem_id, "interactive": True, "visible": visible}
    if control.info and info:
        common["info"] = control.info
    if control.choices is not None:
        choices = choices_of(row, catalog)
        shown = list(value) if control.multiple else displayed(row, value, catalog)
        return gr.Dropdown(choices, value=shown, multiselect=control.multiple or None, allow_custom_value=False, min_width=160, **common)
    if row.type is bool:
        return gr.Checkbox(value, min_width=160, **common)
    if control.low is not None and control.high is not None:
        return gr.Slider(control.low, control.high, value, step=control.step, min_width=160, **common)
    if row.type in (int, float):
        return gr.Number(value, precision=0 if row.type is int else None, min_width=160, **common)
    return gr.Textbox(value, min_width=160, **common)


def choices_of(row: SettingRow, catalog: Catalog) -> list[str]:
    """What a dropdown offers; names in angle brackets come from the catalogue."""
    named: Mapping[str, list[str]] = {
        "<checkpoints>": [info.title for info in catalog.checkpoints],
        "<vaes>": ["Automatic", "None", *(info.name for info in catalog.vaes)],
        "<settings>": [other.control.key for other in rows() if not other.control.host],
    }
    return [choice for entry in row.control.choices or () for choice in named.get(entry, [entry])]


def displayed(row: SettingRow, value: Any, catalog: Catalog) -> Any:
    """`value` as the dropdown shows it: a checkpoint's title changes when its hash becomes known, and empty means the first one."""
    if row.control.choices != ("<checkpoints>",):
        return value if value in choices_of(row, catalog) else None
    for info in catalog.checkpoints:
        if value in (info.name, info.title) or (value.startswith(f"{info.name} [") and value.endswith("]")):
            return info.title
    return catalog.checkpoints[0].title if catalog.checkpoints and not value else None


def _order(row: SettingRow, settings: Settings) -> int:
    keys = settings.page.quicksettings
    return keys.index(row.control.key) if row.control.key in keys else len(keys)
