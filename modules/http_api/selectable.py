"""Which scripts does `script_name` take, and what do `script_args` say by position? A1111's names and order of arguments."""

from __future__ import annotations

from typing import Any

from modules.domain.catalog import Catalog
from modules.domain.styles import Style
from modules.http_api.errors import Refusal
from modules.http_api.models import GenerationBody, Img2ImgBody
from modules.scripts.choices import choices_of
from modules.scripts.registry import SCRIPTS, find_script
from modules.scripts.script import Control, Script
from modules.scripts.values import by_position


def tab_of(body: GenerationBody) -> str:
    """The tab that a body is for."""
    return "img2img" if isinstance(body, Img2ImgBody) else "txt2img"


def chosen_script(body: GenerationBody) -> Script | None:
    """The script that a body asks for, None for none. Raises `Refusal` in A1111's words for one that is not here."""
    name = (body.script_name or "").strip()
    if not name or name.casefold() == "none":
        return None
    found = find_script(name, tab_of(body))
    if found is None:
        known = ", ".join(script.name for script in SCRIPTS if script.fits(tab_of(body)))
        raise Refusal(422, f"Script '{name[:100]}' not found", f"There are: {known}.")
    return found


def script_values(body: GenerationBody, script: Script) -> dict[str, Any]:
    """The values of its controls. Raises `InvalidRequest`."""
    return by_position(script, body.script_args)


def is_selectable(name: str) -> bool:
    """Whether a name is that of a script that is chosen, rather than always on."""
    return any(find_script(name, tab) is not None for tab in ("txt2img", "img2img"))


def selectable_names(tab: str) -> list[str]:
    """The names for /sdapi/v1/scripts, in small letters as in A1111."""
    return [script.name.casefold() for script in SCRIPTS if script.fits(tab)]


def selectable_infos(tab: str, catalog: Catalog, styles: tuple[Style, ...]) -> list[dict[str, Any]]:
    """Their rows of /sdapi/v1/script-info."""
    return [
        {
            "name": script.name.casefold(),
            "is_alwayson": False,
            "is_img2img": tab == "img2img",
            "args": [_argument(control, tab, catalog, styles) for control in script.controls],
        }
        for script in SCRIPTS
        if script.fits(tab)
    ]


def _argument(control: Control, tab: str, catalog: Catalog, styles: tuple[Style, ...]) -> dict[str, Any]:
    choices = choices_of(control, tab, catalog, styles)
    return {
        "label": control.label,
        "value": list(control.default) if control.multiple else control.default,
        "minimum": control.low,
        "maximum": control.high,
        "step": control.step,
        "choices": list(choices) if choices else None,
    }
