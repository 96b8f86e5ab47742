"""Where the pictures grow: progress, live preview, results, their parameters and the queue.

The panel is plain markup; `static/output.js` fills it from the page's own routes (`routes/`), so that a reload finds everything again and
no Gradio event stays open while a picture is made.
"""

from __future__ import annotations

import gradio as gr

_MARKUP = """
<div class="output-panel" data-tab="{tab}">
  <div class="progress" id="{tab}_progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-label="Generation" hidden>
    <div class="bar"></div><span class="text" role="status" aria-live="polite"></span>
  </div>
  <div class="run-tools" hidden></div>
  <div class="loss-curve" hidden></div>
  <div class="stage" id="{tab}_gallery" tabindex="0" aria-label="Result">
    <img class="shown" alt="" hidden><div class="empty">The picture will appear here.</div>
  </div>
  <div class="thumbs" role="listbox" aria-label="Pictures of this job"></div>
  <div class="result-tools" hidden>
    <a class="tool-link download" download title="Download this picture">💾 Download</a>
    <button type="button" class="tool-link reuse" title="Fill the form with this picture's parameters">↙ Use parameters</button>
    <button type="button" class="tool-link copy" title="Copy this picture's parameters">📋 Copy parameters</button>
    <button type="button" class="tool-link" data-send="img2img" id="{tab}_send_to_img2img" title="Send to img2img">🖼 img2img</button>
    <button type="button" class="tool-link" data-send="inpaint" id="{tab}_send_to_inpaint" title="Send to inpaint">🎨 Inpaint</button>
    <button type="button" class="tool-link" data-send="extras" id="{tab}_send_to_extras" title="Send to Extras">📐 Extras</button>
    <button type="button" class="tool-link" data-send="input"
      title="Begin from this picture (U); Ctrl+Z on the canvas takes that back">⤴ Use as input</button>
  </div>
  <div class="infotext" id="html_info_{tab}"></div>
  <div class="performance" id="html_log_{tab}" role="status"></div>
  <details class="sheet" open hidden><summary>Table: click a cell to see its picture and settings</summary>
    <div class="sheet-tables"></div><div class="sheet-links result-tools"></div>
  </details>
  <details class="queue" id="{tab}_queue" hidden><summary></summary><ol></ol></details>
</div>
"""

_ON_LOAD = """
const start = () => window.webui.output(element.querySelector('.output-panel'));
if (window.webui) start(); else addEventListener('webui-ready', start, {once: true});
"""

_ON_SUBMIT = """
watch('value', () => { if (props.value) window.webui.submitted(props.value); });
"""


def output_panel(tab: str) -> gr.HTML:
    """Lay out the panel of `tab`; the returned hidden component takes the id of a submitted job and makes the page follow it."""
    with gr.Column(elem_id=f"{tab}_results", elem_classes="results-column", scale=1, min_width=320):
        gr.HTML(_MARKUP.replace("{tab}", tab), elem_id=f"{tab}_results_panel", js_on_load=_ON_LOAD, apply_default_css=False)
        return gr.HTML("", html_template="<i hidden></i>", js_on_load=_ON_SUBMIT, elem_id=f"{tab}_submitted", visible="hidden")
