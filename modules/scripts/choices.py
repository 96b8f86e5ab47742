"""What can be chosen in a script's dropdown? Its own choices, or what its mark in angle brackets stands for."""

from __future__ import annotations

from modules.domain.catalog import PIXEL_UPSCALERS, Catalog
from modules.domain.styles import Style
from modules.scripts.script import Control

UPSCALERS = "<upscalers>"


def choices_of(control: Control, tab: str, catalog: Catalog, styles: tuple[Style, ...] = ()) -> tuple[str, ...]:
    """The choices of a control on a tab at this moment."""
    if control.choices == (UPSCALERS,):
        return (*PIXEL_UPSCALERS, *(row.label for row in catalog.upscalers))
    return control.choices
