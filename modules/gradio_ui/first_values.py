"""What do the forms show when nobody has typed anything yet?"""

from __future__ import annotations

from typing import Any

from modules.context import AppContext
from modules.gradio_ui.form import DEFAULT_GUIDANCE, DEFAULT_SIZE, Form, matching_guidance, matching_size


class FirstValues:
    """Values by elem_id of every control of `forms`; they depend on the checkpoint in use, and so on when one asks."""

    def __init__(self, context: AppContext, forms: list[Form]) -> None:
        self._context = context
        self._initial = {elem_id: value for form in forms for elem_id, value in form.initial().items()}

    def builtin(self) -> dict[str, Any]:
        """The program's own, with the size and the CFG scale that suit the checkpoint."""
        title, catalog = self._context.settings.current.models.checkpoint, self._context.catalog.snapshot()
        width, height = matching_size(DEFAULT_SIZE, DEFAULT_SIZE, catalog, title)
        suited = {"width": width, "height": height, "cfg_scale": matching_guidance(DEFAULT_GUIDANCE, catalog, title)}
        places = {f"{tab}_{name}": value for tab in ("txt2img", "img2img", "train") for name, value in suited.items()}
        return {**self._initial, **{elem_id: value for elem_id, value in places.items() if elem_id in self._initial}}

    def now(self) -> dict[str, Any]:
        """The user's own defaults, and the program's where there is none."""
        return {**self.builtin(), **self._context.defaults.values}


def same(one: Any, other: Any) -> bool:
    """Whether two values of a control are alike; True and 1 are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
