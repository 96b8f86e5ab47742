"""Which script does a grid's infotext name, and what do its controls show then? A1111 writes those of the X/Y/Z plot.

A script is chosen only where the text holds what it was set with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modules.domain.errors import InvalidRequest
from modules.imaging.reproduction import written_fields
from modules.scripts.registry import find_script
from modules.scripts.sd_upscale import SCRIPT as UPSCALE
from modules.scripts.values import checked_values
from modules.scripts.xyz.axes import NOTHING, find_axis
from modules.scripts.xyz.plot import SCRIPT as SWEEP
from modules.scripts.xyz.ranges import split_values

NO_SCRIPT = "None"

_UNTOLD = ("Script", "Template", "Film frames", "Film shows")
"""What the other scripts write, which is not all that they are set with."""

_KEY = re.compile(r"Script|(?:Fixed )?[XYZ] (?:Type|Values)|SD upscale (?:overlap|upscaler|scale factor)")


def is_script_field(key: str) -> bool:
    """Whether a field of an infotext is about the script."""
    return _KEY.fullmatch(key) is not None


def script_form_values(found: Mapping[str, str], tab: str) -> tuple[dict[str, Any], dict[str, str]]:
    """(values of the form by name, the keys that could not be used with the reason). A text without a script chooses none."""
    name = found.get("Script", "")
    script = find_script(name, tab) if name else None
    if script is None:
        why = f"there is no script {name[:60]!r} on this tab"
        return {"script_list": NO_SCRIPT}, dict.fromkeys((key for key in found if is_script_field(key)), why) if name else {}
    values: dict[str, Any] = {"script_list": script.name}
    if script is UPSCALE:
        return _upscale(found, values)
    if script is SWEEP:
        return _axes(dict(written_fields(found)), tab, values)
    why = f"the text does not hold what {script.name} was set with: choose and set it yourself"
    return {"script_list": NO_SCRIPT}, dict.fromkeys((key for key in _UNTOLD if key in found), why)


def _upscale(found: Mapping[str, str], values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    given = {
        name: found[key]
        for name, key in (
            ("overlap", "SD upscale overlap"),
            ("upscaler_index", "SD upscale upscaler"),
            ("scale_factor", "SD upscale scale factor"),
        )
        if key in found
    }
    try:
        known = checked_values(UPSCALE, given)
    except InvalidRequest as error:
        return {"script_list": NO_SCRIPT}, dict.fromkeys((key for key in found if is_script_field(key)), str(error))
    return {**values, **{f"script_{UPSCALE.slug}_{name}": known[name] for name in given}}, {}


def _axes(found: Mapping[str, str], tab: str, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    refused: dict[str, str] = {}
    for letter in ("x", "y", "z"):
        key, base = f"{letter.upper()} Type", f"script_{SWEEP.slug}_{letter}"
        text = found.get(f"{letter.upper()} Values", "")
        try:
            axis = find_axis(found.get(key, NOTHING), tab)
            listed = split_values(text) if axis.choices is not None else []
        except InvalidRequest as error:
            refused[key] = str(error)
            axis, text, listed = find_axis(NOTHING, tab), "", []
        values |= {f"{base}_type": axis.name, f"{base}_values": text, f"{base}_values_dropdown": listed}
    return values, refused
