"""How an event of the page tells the user something: a hidden component carries sentences, the page's script shows them as toasts.

Gradio 6 shows `gr.Error` and `gr.Info` only for events in its own queue; ours are outside it, so that a click never waits behind another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import gradio as gr

from modules.domain.errors import UserError

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How every event of the page is registered: outside Gradio's queue (ours is the real one), without spinners, not part of an API."""

_ON_LOAD = """
watch('value', () => {
  if (!props.value) return;
  for (const [kind, text] of JSON.parse(props.value).notes) window.webui.toast(text, kind);
});
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a handler returns when it has something to say besides its `values` (one per output)."""

    values: Sequence[Any]
    notes: Sequence[str] = ()


class Notices:
    """The hidden component of one page, and `on`, which registers events that may speak through it."""

    def __init__(self) -> None:
        self.component = gr.HTML("", html_template="<i hidden></i>", js_on_load=_ON_LOAD, elem_id="notices", visible="hidden")

    def on(self, event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Sequence[Any], **more: Any) -> Any:
        """Register `handler`: it returns a value for each of `outputs`, or `Told`. A `UserError` changes nothing, it is shown."""
        count = len(outputs)

        @wraps(handler)
        def run(*args: Any, **named: Any) -> list[Any]:
            try:
                result = handler(*args, **named)
            except UserError as error:
                return [*(gr.skip() for _ in range(count)), _message("error", [str(error)])]
            told = result if isinstance(result, Told) else Told(result)
            return [*told.values, _message("info", told.notes) if told.notes else gr.skip()]

        return event(run, inputs, [*outputs, self.component], **{**QUIET, **more})


def _message(kind: str, notes: Sequence[str]) -> str:
    # The time makes two equal messages two values, so that the second one is shown too.
    return json.dumps({"notes": [[kind, note] for note in notes], "at": time.monotonic_ns()})
