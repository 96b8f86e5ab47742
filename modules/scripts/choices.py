"""What can be chosen in a script's dropdown? Its own choices, or what its mark in angle brackets stands for."""

from __future__ import annotations

from modules.domain.catalog import Catalog
from modules.domain.styles import Style
from modules.scripts.script import Control
from modules.scripts.xyz.axes import axes_of

UPSCALERS, AXES, AXIS_VALUES = "<upscalers>", "<axes>", "<axis values>"
"""The last one's choices depend on the axis."""


def choices_of(control: Control, tab: str, catalog: Catalog, styles: tuple[Style, ...] = ()) -> tuple[str, ...]:
    """The choices of a control on a tab at this moment."""
    if control.choices == (UPSCALERS,):
        return catalog.extras_upscalers
    if control.choices == (AXES,):
        return tuple(axis.name for axis in axes_of(tab))
    return () if control.choices[:1] == (AXIS_VALUES,) else control.choices
