"""What the generation tabs have in common: one click is one request is one job; a pasted text fills the form; the browser remembers it.

Knows which requests a tab makes only as a function from the form's values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import gradio as gr

from modules.context import AppContext
from modules.domain.errors import InvalidRequest, QueueFull
from modules.domain.jobs import Job, JobRequest, click_keys
from modules.domain.requests import GenerationRequest
from modules.gradio_ui.form import Form, shown_value, to_request
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.generation_settings import SettingsColumn
from modules.gradio_ui.parts.pasted_report import shown_report
from modules.gradio_ui.parts.prompt_box import PromptBox
from modules.gradio_ui.parts.scripts import chosen_script, script_values
from modules.gradio_ui.pasting.infotext import from_infotext, override_entries, parse_overrides
from modules.prompts.styles import with_styles, without_styles, without_texts

REQUEST_OPTIONS = ("sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers")
"""Settings of the bar that travel with the request, so that a click uses what its own screen shows, whatever another tab has set."""

RequestsOf = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], GenerationRequest], gr.Request], Told]
"""From the form's values, a function that makes the plain request in such values, and who asks, to the requests (a `Told`'s values)."""


def remember_form(form: Form) -> None:
    """Keep the form in the browser: every change is stored there without asking the server."""
    ids = json.dumps(form.elem_ids)
    gr.on(
        [component.change for component in form.components],
        None,
        form.components,
        None,
        js=f"(...values) => {{ window.webui && webui.form.remember('{form.tab}', {ids}, values); }}",
        **QUIET,
    )


def restore_form(demo: gr.Blocks, form: Form) -> None:
    """Bring back what this browser remembers as soon as the page opens."""
    wait = "if (!window.webui?.form) await new Promise((go) => addEventListener('webui-ready', go, {once: true}));"
    call = f"webui.form.restore('{form.tab}', {json.dumps(form.elem_ids)}, {json.dumps(form.choices())}, values)"
    demo.load(None, form.components, form.components, js=f"async (...values) => {{ {wait} return {call}; }}", **QUIET)


def fill_js(form: Form) -> str:
    """Script that takes the server's defaults, as JSON, and then the form's values: a form that nobody touched yet shows the defaults."""
    return f"(defaults, ...values) => webui.form.fill('{form.tab}', {json.dumps(form.elem_ids)}, defaults, values)"


def wire_generate(
    context: AppContext,
    form: Form,
    quick: Mapping[str, Any],
    notices: Notices,
    event: Callable[..., Any],
    submitted: gr.HTML,
    requests_of: RequestsOf,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Submit what `requests_of` makes of the form's values and those of the components in `more`, through the script where one is chosen;
    the run, or the first request's job, is followed."""
    bar, extra = {key: quick[key] for key in REQUEST_OPTIONS}, dict(more or {})

    def submit(data: dict[Any, Any], request: gr.Request) -> Told:
        values = {**form.values(data), **{name: data[component] for name, component in extra.items()}}
        shown = {key: data[control] for key, control in bar.items()}
        told = requests_of(values, lambda given: plain_request(context, given, shown), request)
        script = chosen_script(values, form.tab)
        if script is not None:
            if len(told.values) != 1:
                raise InvalidRequest(f"{script.name} begins from one picture: choose another sub-tab than Batch, or no script.")
            given = script_values(values, script)
            run = context.runs.submit(script.name, form.tab, told.values[0], given, owner=request.username or "")
            return Told([run.id], told.notes)
        jobs, left = submit_together(context, told.values, request.username or "")
        return Told([jobs[0].id if jobs else gr.skip()], [*told.notes, *left])

    notices.on(event, submit, {*form.components, *bar.values(), *extra.values()}, [submitted], trigger_mode="multiple")


def submit_together(context: AppContext, requests: Sequence[JobRequest], owner: str) -> tuple[list[Job], list[str]]:
    """A job for each request of one click, which Interrupt ends together, and a note where the queue had not room for all of them.

    Raises as `JobQueue.submit` does; `QueueFull` only where there is no room for the first."""
    jobs: list[Job] = []
    try:
        for wanted, key in zip(requests, click_keys(uuid4().hex, len(requests)), strict=True):
            jobs.append(context.queue.submit(wanted, source="ui", owner=owner, idempotency_key=key))
    except QueueFull as error:
        if not jobs:
            raise
        return jobs, [f"Only the first {len(jobs)} of {len(requests)} wait now: {error}"]
    return jobs, []


def wire_extend(context: AppContext, form: Form, notices: Notices, button: gr.Button, submitted: gr.HTML) -> None:
    """Let the last run of the chosen script go on with the values that its controls show now."""

    def go_on(data: dict[Any, Any], request: gr.Request) -> list[Any]:
        values = form.values(data)
        script = chosen_script(values, form.tab)
        runs = [run for run in context.runs.list((request.username or "",)) if script and (run.script, run.tab) == (script.name, form.tab)]
        if script is None or not runs:
            raise InvalidRequest("There is no run of this script to go on with: click Generate first.")
        return [context.runs.go_on(runs[-1].id, script_values(values, script)).id]

    notices.on(button.click, go_on, set(form.components), [submitted], trigger_mode="multiple")


def plain_request(context: AppContext, values: Mapping[str, Any], bar: Mapping[str, Any]) -> GenerationRequest:
    """What the form and the quick-settings bar ask for, without a picture to begin from. Raises `InvalidRequest`."""
    shown = context.settings.current.page.quicksettings
    used = {key: value for key, value in bar.items() if key in shown and value not in (None, "")}
    skip = used.get("CLIP_stop_at_last_layers")
    styles = [context.styles.find(str(name)) for name in values.get("styles") or ()]
    positive, negative = [style.prompt for style in styles], [style.negative_prompt for style in styles]
    texts = {
        "prompt": with_styles(str(values["prompt"] or ""), positive),
        "neg_prompt": with_styles(str(values["neg_prompt"] or ""), negative),
    }
    for name, added in (("hires_prompt", positive), ("hires_neg_prompt", negative)):
        if values.get(name):  # an empty one of the second pass is the first pass' own, styles and all
            texts[name] = with_styles(str(values[name]), added)
    return to_request(
        {**values, **texts},
        context.catalog.snapshot(),
        checkpoint=used.get("sd_model_checkpoint"),
        vae=used.get("sd_vae"),
        clip_skip=int(skip) if skip is not None else None,
        overrides=parse_overrides(values.get("override_settings") or ()),
    )


def wire_paste(context: AppContext, form: Form, notices: Notices, button: gr.Button, report: gr.HTML) -> None:
    """The arrow button: it reads what the page's script hands to it, else the prompt, else the last picture's text.

    The event's script makes JSON of the prompt, as `prompt`, and of what was handed to it: a text as `infotext` and, where not
    everything is to be taken over, the controls' names as `only` with some `values` besides. (A text that a script types into a
    component would reach Gradio at a time of Gradio's choosing.)
    """

    def paste(given: str, request: gr.Request) -> Told:
        asked = json.loads(given)
        text = asked.get("infotext") or asked.get("prompt") or _last_infotext(context, request.username or "")
        only, given_values = asked.get("only"), dict(asked.get("values") or {})
        settings = context.settings.current
        pasted = from_infotext(text, context.catalog.snapshot(), settings, img2img=form.tab == "img2img")
        if only is not None:
            chosen = {**{name: value for name, value in pasted.values.items() if name in only}, **given_values}
            return Told([*(_update(name, chosen) for name in form), gr.skip()])
        entries = override_entries(pasted.options, context.settings.as_options())
        apart = _with_styles_apart(context, pasted.values) if pasted.report.has_parameters else {}
        values = {**pasted.values, **apart, "override_settings": entries}
        updates = [_update(name, values) for name in form]
        return Told([*updates, shown_report(pasted.report)], pasted.notes)

    js = f"(prompt) => [webui.form.toPaste('{form.tab}', prompt)]"
    notices.on(button.click, paste, [form["prompt"]], [*form.components, report], js=js, trigger_mode="multiple")


def _with_styles_apart(context: AppContext, values: Mapping[str, Any]) -> dict[str, Any]:
    """The prompts as they were before styles were added to them, and these styles: chosen ones would be added once more."""
    known = {style.name: style for style in context.styles.all()}
    styles = [(style.name, style.prompt, style.negative_prompt) for style in known.values()]
    prompt, negative, chosen = without_styles(values.get("prompt") or "", values.get("neg_prompt") or "", styles)
    apart = {"prompt": prompt, "neg_prompt": negative, "styles": chosen}
    for name, texts in (
        ("hires_prompt", [known[each].prompt for each in chosen]),
        ("hires_neg_prompt", [known[each].negative_prompt for each in chosen]),
    ):
        if written := values.get(name):
            bare = without_texts(written, texts)
            if bare is None:
                return {"styles": []}  # these would be added to the second pass, which was drawn without them
            apart[name] = bare
    return apart


def wire_small_tools(form: Form, box: PromptBox, column: SettingsColumn) -> None:
    """Clear, swap sides, and the seed's two buttons: all in the browser."""
    texts = [form["prompt"], form["neg_prompt"]]
    box.clear.click(None, texts, texts, js="(...texts) => webui.form.cleared(...texts)", **QUIET)
    sides = [form["width"], form["height"]]
    column.swap_size.click(None, sides, sides, js="(width, height) => [height, width]", **QUIET)
    column.random_seed.click(None, None, form["seed"], js="() => -1", **QUIET)
    column.reuse_seed.click(None, None, form["seed"], js=f"() => webui.shownSeed('{form.tab}')", **QUIET)


def _update(name: str, values: Mapping[str, Any]) -> Any:
    return shown_value(name, values[name]) if name in values else gr.skip()


def _last_infotext(context: AppContext, owner: str) -> str:
    """A1111's params.txt, which is everybody's; whoever has logged in is told of pictures of their own."""
    if owner:
        return next((image.infotext for image in context.gallery.recent(20, owners=(owner,)) if image.kind == "image"), "")
    try:
        return context.paths.params_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
