"""What the form shows when nobody has typed anything yet, where the Defaults page changed it.

Values by `elem_id`. Which controls there are only the page knows; a value for a control that is gone is kept.
"""

from __future__ import annotations

from pathlib import Path

from modules.settings.values_file import ValuesFile


class FormDefaults(ValuesFile):
    """The saved defaults of the form's controls; a control that is not in `values` has its built-in default."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "defaults", "What the form of diffusion-webui shows at first, by elem_id. Written by the Defaults page.")

    def clear(self) -> None:
        """Go back to the built-in defaults. Raises `StorageError`."""
        self.save({})
