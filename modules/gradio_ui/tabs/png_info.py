"""The PNG Info tab: what a picture says about how it was made, and from there into the form."""

from __future__ import annotations

import gradio as gr

from modules.context import AppContext
from modules.gradio_ui.notices import QUIET, Notices, Told
from modules.gradio_ui.parts.pasted_report import pasted_report, shown_report
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.imaging.files import read_infotext

TARGETS = {"img2img": "img2img", "inpaint": "inpaint", "extras": "Extras"}
"""Where the picture itself can be sent to: `webui.sendTo`'s name -> the button's."""


def png_info_tab(context: AppContext, notices: Notices) -> None:
    """Lay out the tab inside the current Gradio context."""
    with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"), gr.Row():
        with gr.Column(min_width=320):
            # No image_mode: with one, Gradio may hand over a re-encoded copy without the metadata.
            image = gr.Image(
                label="Source",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                format="png",
                elem_id="pnginfo_image",
                interactive=True,
                height=420,
            )
        with gr.Column(min_width=320):
            text = gr.Textbox(label="Parameters", lines=8, max_lines=30, interactive=False, elem_id="pnginfo_parameters", buttons=["copy"])
            with gr.Row():
                send = gr.Button("Send to txt2img", elem_id="pnginfo_send_to_txt2img", min_width=100)
                pictures = {
                    name: gr.Button(f"Send to {title}", elem_id=f"pnginfo_send_to_{name}", min_width=100) for name, title in TARGETS.items()
                }
            report = pasted_report("pnginfo_report")

    def read(path: str | None) -> Told:
        found = read_infotext(path) if path else ""
        if not found:
            return Told(["", shown_report(None)], ["This picture holds no generation parameters."] if path else [])
        return Told([found, shown_report(from_infotext(found, context.catalog.snapshot(), context.settings.current).report)])

    notices.on(image.change, read, image, [text, report])
    send.click(None, text, None, js="(text) => { if (text) { webui.form.paste('txt2img', text); webui.openTab('txt2img'); } }", **QUIET)
    for name, button in pictures.items():
        button.click(None, text, None, js=f"(text) => webui.sendShown('{name}', '#pnginfo_image img', text)", **QUIET)
