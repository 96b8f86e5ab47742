"""The Settings tab, made from the schema: a nested tab a section, and behind them Defaults and Actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.catalog import Catalog
from modules.gradio_ui.first_values import FirstValues, same
from modules.gradio_ui.form import Form
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.quicksettings import choices_of, displayed, setting_control
from modules.settings.rows import SettingRow, row_by_key, rows
from modules.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class SettingsTab:
    """`controls` by option key; `version` holds the settings' version that the page has read."""

    controls: dict[str, Any]
    version: gr.Number


def settings_tab(context: AppContext, forms: list[Form], first: FirstValues, quick: Mapping[str, Any], notices: Notices) -> SettingsTab:
    """Lay out the tab inside the current Gradio context and wire it to the store."""
    settings, catalog = context.settings.current, context.catalog.snapshot()
    controls: dict[str, Any] = {}
    with gr.Tab("Settings", id="settings", elem_id="tab_settings"):
        with gr.Row(elem_id="settings_bar"):
            apply = gr.Button("Apply settings", variant="primary", elem_id="settings_submit", scale=1, min_width=160)
            search = gr.Textbox(
                placeholder="Search settings", show_label=False, container=False, elem_id="settings_search", interactive=True, scale=3
            )
            version = gr.Number(context.settings.version, visible="hidden", precision=0, elem_id="settings_version", label="Version")
        result = gr.Markdown("", elem_id="settings_result")
        with gr.Tabs(elem_id="settings", overflow_behavior="wrap"):
            visible = [row for row in rows() if not row.control.host]
            for section, group in groupby(visible, key=lambda row: row.section):
                _section(section, list(group), settings, catalog, controls)
            _defaults_page(context, forms, first, notices)
            _actions_page(context, notices)
    search.change(None, search, None, js="(text) => webui.searchSettings(text)", **QUIET)
    _wire_apply(context, controls, quick, notices, version, apply, result)
    return SettingsTab(controls=controls, version=version)


def _section(section: str, group: list[SettingRow], settings: Settings, catalog: Catalog, controls: dict[str, Any]) -> None:
    with gr.Tab(group[0].section_title, id=section, elem_id=f"settings_{section}"):
        for row in group:
            controls[row.control.key] = setting_control(row, settings, catalog, elem_id=f"settings_{row.control.key}")


def _wire_apply(
    context: AppContext,
    controls: Mapping[str, Any],
    quick: Mapping[str, Any],
    notices: Notices,
    version: gr.Number,
    apply: gr.Button,
    result: gr.Markdown,
) -> None:
    keys = list(controls)

    def save(data: dict[Any, Any]) -> list[Any]:
        before = context.settings.as_options()
        settings, catalog = context.settings.current, context.catalog.snapshot()
        changes = to_options({key: data[controls[key]] for key in keys}, settings, catalog)
        context.settings.update(changes, expected_version=int(data[version]))
        after = context.settings.as_options()
        changed = [row_by_key(key).control.label for key in keys if before[key] != after[key]]
        text = f"{len(changed)} settings changed: {', '.join(changed)}." if changed else "Nothing was changed."
        return [text, context.settings.version, *quick_updates(context, quick)]

    notices.on(apply.click, save, {*controls.values(), version}, [result, version, *quick.values()])


def to_options(shown: Mapping[str, Any], settings: Settings, catalog: Catalog) -> dict[str, Any]:
    """The values to store for what the controls show. A list shows nothing for a file that is gone: until another is chosen, it stays."""
    told = {key: value for key, value in shown.items() if value not in (None, "") or not _shows_nothing(key, settings, catalog)}
    return {key: to_option(key, value, settings, catalog) for key, value in told.items()}


def to_option(key: str, value: Any, settings: Settings, catalog: Catalog) -> Any:
    """The value to store for what a control shows.

    A checkpoint is stored by its name, since its title changes when the hash becomes known, and "the first one" stays that until another
    one is chosen.
    """
    if key != "sd_model_checkpoint":
        return value
    if not value:
        return ""
    chosen = catalog.checkpoint(str(value))
    unchanged = not settings.models.checkpoint and chosen == catalog.checkpoint(None)
    return "" if unchanged else chosen.name


def _shows_nothing(key: str, settings: Settings, catalog: Catalog) -> bool:
    row = row_by_key(key)
    value = getattr(getattr(settings, row.section), row.name)
    return row.control.choices is not None and not row.control.multiple and displayed(row, value, catalog) is None


def control_update(key: str, settings: Settings, catalog: Catalog, **more: Any) -> Any:
    """A Gradio update that makes the control of `key` show the current value and, for a dropdown, the current choices."""
    row = row_by_key(key)
    value = getattr(getattr(settings, row.section), row.name)
    if row.control.choices is None:
        return gr.update(value=value, **more)
    shown = list(value) if row.control.multiple else displayed(row, value, catalog)
    return gr.update(value=shown, choices=choices_of(row, catalog), **more)


def quick_updates(context: AppContext, quick: Mapping[str, Any]) -> list[Any]:
    """Updates for the whole quick-settings bar."""
    settings, catalog = context.settings.current, context.catalog.snapshot()
    return [control_update(key, settings, catalog, visible=key in settings.page.quicksettings) for key in quick]


def _defaults_page(context: AppContext, forms: list[Form], first: FirstValues, notices: Notices) -> None:
    components = [component for form in forms for component in form.components]
    ids = [elem_id for form in forms for elem_id in form.elem_ids]

    def changes(*values: Any) -> str:
        known = first.now()
        differing = [
            (elem_id, known.get(elem_id), value) for elem_id, value in zip(ids, values, strict=True) if not same(known.get(elem_id), value)
        ]
        if not differing:
            return "The form shows the defaults."
        lines = [f"| `{elem_id}` | {_cell(old)} | {_cell(new)} |" for elem_id, old, new in differing]
        return "\n".join(["| control | default | form |", "|---|---|---|", *lines])

    def save(*values: Any) -> list[str]:
        builtin = first.builtin()
        saved = {elem_id: value for elem_id, value in zip(ids, values, strict=True) if not same(builtin.get(elem_id), value)}
        context.defaults.save(saved)
        return [f"The form as it is now is the default: {len(saved)} controls differ from the built-in defaults."]

    def clear() -> list[str]:
        context.defaults.clear()
        return ["The built-in defaults are back. Reset the form to see them."]

    def reset() -> list[Any]:
        known = first.now()
        return [known[elem_id] for elem_id in ids]

    with gr.Tab("Defaults", id="defaults", elem_id="settings_defaults"):
        gr.Markdown("What txt2img and img2img show now can become the default of every control, for every browser that opens this page.")
        with gr.Row():
            view = gr.Button("View changes", elem_id="ui_defaults_view")
            apply = gr.Button("Make these the defaults", variant="primary", elem_id="ui_defaults_apply")
            back = gr.Button("Back to the built-in defaults", elem_id="ui_defaults_clear")
            renew = gr.Button("Reset the form", elem_id="ui_defaults_reset")
        review = gr.Markdown("", elem_id="ui_defaults_review")
    view.click(changes, components, review, **QUIET)
    notices.on(apply.click, save, components, [review])
    notices.on(back.click, clear, None, [review])
    renew.click(reset, None, components, **QUIET)


def _actions_page(context: AppContext, notices: Notices) -> None:
    def unload() -> Told:
        context.queue.unload()
        return Told([], ["The model was unloaded; the next job loads it again."])

    def about() -> str:
        status = context.queue.engine
        problems = [*context.settings.problems, *context.defaults.problems]
        lines = [
            f"diffusion-webui {context.version}",
            f"Engine: {status.state}{f', {status.text}' if status.text else ''}{f', on {status.device}' if status.device else ''}",
            f"Checkpoints found: {len(context.catalog.snapshot().checkpoints)}",
            *problems,
        ]
        return "\n\n".join(lines)

    with gr.Tab("Actions", id="actions", elem_id="settings_actions"):
        with gr.Row():
            free = gr.Button("Unload the model", elem_id="sett_unload_sd_model")
            look = gr.Button("Show the engine's state", elem_id="sett_sysinfo")
        state = gr.Markdown(about, elem_id="sysinfo")
    notices.on(free.click, unload, None, [])
    look.click(about, None, state, **QUIET)


def _cell(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", "⏎")[:120] + "`"
