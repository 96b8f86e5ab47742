"""The whole page: the quick-settings bar over the tabs, and what happens when somebody opens it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.catalog import CODEFORMER, GFPGAN, Catalog
from modules.gradio_ui.first_values import FirstValues
from modules.gradio_ui.form import Form, matching_guidance, matching_size
from modules.gradio_ui.generation import fill_js, remember_form, restore_form
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.hires import checkpoint_choices, upscaler_choices
from modules.gradio_ui.parts.quicksettings import quicksettings
from modules.gradio_ui.parts.refiner import refiner_choices
from modules.gradio_ui.parts.scripts import script_upscaler_fields
from modules.gradio_ui.tabs.extras import extras_tab, extras_upscaler_choices, shown_for
from modules.gradio_ui.tabs.gallery import gallery_tab
from modules.gradio_ui.tabs.img2img import img2img_tab
from modules.gradio_ui.tabs.merger import MergerTab, merger_model_choices, merger_tab, merger_vae_choices
from modules.gradio_ui.tabs.png_info import png_info_tab
from modules.gradio_ui.tabs.settings import SettingsTab, control_update, quick_updates, settings_tab, to_option
from modules.gradio_ui.tabs.train import train_tab
from modules.gradio_ui.tabs.txt2img import txt2img_tab


def build(context: AppContext) -> gr.Blocks:
    """The page as Gradio blocks, bound to `context`."""
    settings, catalog = context.settings.current, context.catalog.snapshot()
    with gr.Blocks(title="diffusion-webui", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        notices = Notices()
        quick, refresh = quicksettings(settings, catalog)
        with gr.Tabs(elem_id="tabs", selected="txt2img"):
            txt2img = txt2img_tab(context, quick, notices, demo)
            img2img = img2img_tab(context, quick, notices, demo)
            extras = extras_tab(context, notices, demo)
            gallery_tab()
            png_info_tab(context, notices)
            merger = merger_tab(context, notices, demo)
            train = train_tab(context, quick, notices, demo)
            forms = [txt2img.form, img2img.form, extras, merger.form, train]
            first = FirstValues(context, forms)
            tab = settings_tab(context, forms, first, quick, notices)
        gr.HTML('<div class="footer"><span></span> <a hidden></a></div>', elem_id="footer", apply_default_css=False)
        _wire_quicksettings(context, notices, quick, txt2img.form, img2img.form, tab)
        _wire_merger(context, notices, quick, merger, tab)
        _wire_refresh(context, notices, quick, forms, refresh)
        for form in forms:
            restore_form(demo, form)
            remember_form(form)
        _wire_load(context, notices, demo, quick, forms, first, tab)
    return demo


def _wire_quicksettings(
    context: AppContext, notices: Notices, quick: Mapping[str, Any], txt2img: Form, img2img: Form, tab: SettingsTab
) -> None:
    for key, control in quick.items():
        if isinstance(control, gr.Slider):
            listen = control.release
        elif isinstance(control, gr.Textbox):
            listen = control.blur
        else:
            listen = control.input

        notices.on(listen, _storing(context, key), control, [tab.version, tab.controls[key]])

    def suit(title: str, width: float | None, height: float | None, *guidance: float | None) -> tuple[float | None, ...]:
        # A number's field may be empty for the moment; it stays so.
        catalog = context.catalog.snapshot()
        sides = matching_size(int(width), int(height), catalog, title) if width and height else (width, height)
        return *sides, *(each and matching_guidance(each, catalog, title) for each in guidance)

    suited = [txt2img["width"], txt2img["height"], txt2img["cfg_scale"], img2img["cfg_scale"]]
    checkpoint = quick["sd_model_checkpoint"]
    checkpoint.input(suit, [checkpoint, *suited], suited, **QUIET)


def _wire_merger(context: AppContext, notices: Notices, quick: Mapping[str, Any], merger: MergerTab, tab: SettingsTab) -> None:
    """The result's button makes it the checkpoint to draw with, as choosing it in the bar does; before that nothing changes."""
    key = "sd_model_checkpoint"
    shown = [quick[key], tab.version, tab.controls[key]]

    def updates() -> list[Any]:
        control = control_update(key, context.settings.current, context.catalog.snapshot())
        return [control, context.settings.version, control]

    def keep() -> list[Any]:
        # where no checkpoint is chosen the first one is drawn with, and the result may come to stand before it
        checkpoints = context.catalog.snapshot().checkpoints
        if context.settings.current.models.checkpoint or not checkpoints:
            return [gr.skip()] * len(shown)
        context.settings.update({key: checkpoints[0].name})
        return updates()

    def use(name: str) -> list[Any]:
        context.settings.update({key: context.catalog.snapshot().checkpoint(name).name})
        return updates()

    notices.on(merger.merge.click, keep, None, shown)
    sent = merger.use.click(None, None, merger.chosen, js="() => webui.merger.file()", **QUIET)
    notices.on(sent.then, use, merger.chosen, shown)


def _storing(context: AppContext, key: str) -> Callable[[Any], list[Any]]:
    def store(value: Any) -> list[Any]:
        context.settings.update({key: to_option(key, value, context.settings.current, context.catalog.snapshot())})
        return [context.settings.version, control_update(key, context.settings.current, context.catalog.snapshot())]

    return store


def _wire_refresh(context: AppContext, notices: Notices, quick: Mapping[str, Any], forms: list[Form], refresh: gr.Button) -> None:
    listed = [quick["sd_model_checkpoint"], quick["sd_vae"], *(control for form in forms for control, _ in _offers(form))]

    def look_again() -> Told:
        catalog = context.catalog.refresh()
        found = f"{len(catalog.checkpoints)} checkpoints, {len(catalog.vaes)} VAEs and {len(catalog.upscalers)} upscaler models found."
        updates = [control_update(key, context.settings.current, catalog) for key in ("sd_model_checkpoint", "sd_vae")]
        return Told([*updates, *(offer(catalog) for form in forms for _, offer in _offers(form))], [found])

    notices.on(refresh.click, look_again, None, listed)


def _offers(form: Form) -> list[tuple[Any, Callable[[Catalog], object]]]:
    """The form's controls that stand for files, each with what updates it for files that came or went."""
    offers = {
        "hr_upscaler": upscaler_choices,
        "hr_checkpoint": checkpoint_choices,
        "refiner_checkpoint": refiner_choices,
        "upscaler_1": extras_upscaler_choices,
        "upscaler_2": extras_upscaler_choices,
        **dict.fromkeys(("primary_model_name", "secondary_model_name", "tertiary_model_name"), merger_model_choices),
        "bake_in_vae": merger_vae_choices,
        "gfpgan_visibility": shown_for(GFPGAN),
        **dict.fromkeys(("codeformer_visibility", "codeformer_weight"), shown_for(CODEFORMER)),
        **dict.fromkeys(script_upscaler_fields(), extras_upscaler_choices),
    }
    return [(form[name], offer) for name, offer in offers.items() if name in form]


def _wire_load(
    context: AppContext,
    notices: Notices,
    demo: gr.Blocks,
    quick: Mapping[str, Any],
    forms: list[Form],
    first: FirstValues,
    tab: SettingsTab,
) -> None:
    """Blocks are built once, pages are opened often: each opening gets the settings, files and defaults of that moment."""
    offers = [offer for form in forms for offer in _offers(form)]

    def fresh() -> Told:
        settings, catalog = context.settings.current, context.catalog.snapshot()
        known = first.now()
        problems = (
            *context.settings.problems,
            *context.defaults.problems,
            *context.presets.problems,
            *context.queue.problems,
            *context.runs.problems,
            *context.gallery.problems,
        )
        options = [control_update(key, settings, catalog) for key in tab.controls]
        shown = json.dumps({elem_id: known[elem_id] for form in forms for elem_id in form.elem_ids})
        bar = quick_updates(context, quick)
        return Told([*bar, *options, context.settings.version, shown, *(offer(catalog) for _, offer in offers)], problems)

    defaults = gr.Textbox(visible="hidden", elem_id="form_defaults", label="Defaults")
    loaded = notices.on(
        demo.load, fresh, None, [*quick.values(), *tab.controls.values(), tab.version, defaults, *(each for each, _ in offers)]
    )
    for form in forms:
        loaded.then(None, [defaults, *form.components], form.components, js=fill_js(form), **QUIET)
