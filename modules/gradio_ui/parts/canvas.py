"""One of our canvases on the page: markup that `static/canvas/` fills. Gradio sees none of its pixels; requests name pictures by id."""

from __future__ import annotations

from html import escape

import gradio as gr

_MARKUP = '<div class="canvas-editor" data-slot="{slot}" data-label="{label}"></div>'

_ON_LOAD = """
const start = () => window.webui.loadCanvas().then((canvas) => canvas.mount(element.querySelector('.canvas-editor')));
if (window.webui?.loadCanvas) start(); else addEventListener('webui-ready', start, {once: true});
"""


def canvas(slot: str, label: str) -> None:
    """Lay out the canvas of `slot`, one of those that `static/canvas/main.js` names; `label` is what screen readers call it."""
    gr.HTML(_MARKUP.format(slot=slot, label=escape(label)), js_on_load=_ON_LOAD, apply_default_css=False, elem_id=slot)
