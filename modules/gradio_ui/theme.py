"""The page's look: small type, little air, system fonts, so that nothing is fetched and much fits on a screen."""

from __future__ import annotations

import gradio as gr


def page_theme() -> gr.themes.Base:
    """Gradio's base theme, made dense."""
    sizes = gr.themes.sizes
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.orange,
        secondary_hue=gr.themes.colors.violet,
        neutral_hue=gr.themes.colors.zinc,
        text_size=sizes.text_sm,
        spacing_size=sizes.spacing_sm,
        radius_size=sizes.radius_sm,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return theme.set(layout_gap="8px", block_padding="6px 8px", form_gap_width="1px", block_label_padding="2px 6px")
