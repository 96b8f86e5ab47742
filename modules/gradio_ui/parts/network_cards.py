"""The cards of LoRAs and textual inversions below the prompt: laid out here, filled by `static/cards.js`."""

from __future__ import annotations

import gradio as gr

KINDS = (("embeddings", "Textual Inversion", "embeddings"), ("loras", "Lora", "models/Lora"))
"""(kind in the routes, A1111's name of the sub-tab, the folder that files belong into)."""

_MARKUP = """
<div class="network-cards" data-kind="{kind}" data-tab="{tab}">
  <div class="cards-bar"><input type="search" class="cards-search" placeholder="Search" aria-label="Search {title}">
    <button type="button" class="tool-link cards-refresh">🔄 Refresh</button> <span class="cards-count" role="status"></span></div>
  <div class="cards-grid"></div>
  <div class="cards-empty" hidden>Nothing here. Put files into {folder} and press Refresh.</div>
</div>
"""

_ON_LOAD = """
const start = () => window.webui.cards(element.querySelector('.network-cards'));
if (window.webui?.cards) start(); else addEventListener('webui-ready', start, {once: true});
"""


def network_tabs(tab: str) -> None:
    """Lay out one sub-tab a kind inside the current `gr.Tabs`."""
    for kind, title, folder in KINDS:
        with gr.Tab(title, id=f"{tab}_{kind}", elem_id=f"{tab}_{kind}_tab"):
            markup = _MARKUP.format(kind=kind, tab=tab, title=title, folder=folder)
            gr.HTML(markup, js_on_load=_ON_LOAD, apply_default_css=False, elem_id=f"{tab}_{kind}_cards")
