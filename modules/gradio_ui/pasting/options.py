"""What do the options of a pasted infotext set, and what does the page's "Override settings" list call them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.imaging.infotext_options import OPTIONS
from modules.settings.rows import row_by_key
from modules.settings.schema import Settings
from modules.settings.values import value_of

LABELS = {**{option: key for key, (option, _) in OPTIONS.items()}, "sd_model_checkpoint": "Model", "sd_vae": "VAE"}
"""Option key to label."""

_COMPLETE = ("diffusion-webui", "v1.9.", "v1.10.")
"""Versions whose texts have every option that is not at its default: this program's, and A1111's that drew as it does today."""


def unwritten(found: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """The options that a text leaves out, as they were at their default, and that the settings have at another value."""
    if not found.get("Version", "").startswith(_COMPLETE):
        return {}
    rows = {option: row_by_key(option) for key, (option, _) in OPTIONS.items() if key not in found}
    usual = {option: value_of(Settings(), row) for option, row in rows.items()}
    return {option: value for option, value in usual.items() if value != value_of(settings, rows[option])}
