"""Imports gradio in half the time: without the type stubs that it writes for every component at each start (3 of 7 seconds).

It asks `inspect.getfile` for a component's source and leaves the stub alone when there is none, so for as long as gradio is being imported
there is none.
"""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from pathlib import Path
from typing import Any


def import_gradio(uploads: Path) -> None:
    """Import gradio, silent (no telemetry, no hub) and with its uploads in `uploads`. Call it before anything else imports gradio."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    getfile = inspect.getfile

    def no_file(_: Any) -> str:
        raise OSError("no stubs while gradio is imported")

    inspect.getfile = no_file
    try:
        import_module("gradio")
    finally:
        inspect.getfile = getfile
