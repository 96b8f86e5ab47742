"""The Gallery tab: every picture that was made here, newest first, read from the index and never from the folders."""

from __future__ import annotations

import gradio as gr

_MARKUP = """
<div class="gallery-tab">
  <div class="gallery-top"></div>
  <div class="gallery-bar"><button type="button" class="tool-link gallery-refresh">🔄 Refresh</button>
    <input type="search" class="gallery-search" placeholder="Search prompts and parameters" aria-label="Search prompts and parameters">
    <label><input type="checkbox" class="gallery-favourites"> ★ Favourites</label>
    <span>Click to look, right-click to use a picture's parameters.</span></div>
  <div class="gallery-grid"></div>
  <div class="gallery-empty" hidden></div>
  <button type="button" class="tool-link gallery-more" hidden>Show more</button>
</div>
"""

_ON_LOAD = """
const start = () => window.webui.gallery(element.querySelector('.gallery-tab'));
if (window.webui?.gallery) start(); else addEventListener('webui-ready', start, {once: true});
"""


def gallery_tab() -> None:
    """Lay out the tab inside the current Gradio context."""
    with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
        gr.HTML(_MARKUP, js_on_load=_ON_LOAD, apply_default_css=False, elem_id="gallery_panel")
