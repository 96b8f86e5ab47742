"""How either end of a pipe sends without ever waiting for the other end to read.

A thread does the sending, in order. When it can't keep up, steps are merged into the newest one: sampling never waits for a slow reader.
"""

from __future__ import annotations

import threading
from collections import deque
from multiprocessing.connection import Connection
from typing import Any

from modules.domain.events import StepDone


class Outbox:
    """Sends picklable messages over `connection`; after the other end is gone, silently nothing."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._waiting: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._sending = False
        self._thread = threading.Thread(target=self._send_all, name=name, daemon=True)
        self._thread.start()

    def put(self, message: Any) -> None:
        """Send `message` after those before it; a step that nobody has read yet is replaced by the next step of the same job."""
        with self._changed:
            if self._closed:
                return
            if self._waiting and _supersedes(message, self._waiting[-1]):
                self._waiting[-1] = _merged(message, self._waiting[-1])
            else:
                self._waiting.append(message)
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is sent; False when that takes longer than `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._waiting or self._sending), seconds)

    def close(self) -> None:
        """Drop what was not sent and end the thread."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                message = self._waiting.popleft()
                self._sending = True
            try:
                self._connection.send(message)
            except (OSError, ValueError):
                self.close()


def _supersedes(message: Any, before: Any) -> bool:
    return (
        isinstance(message, StepDone)
        and isinstance(before, StepDone)
        and (message.job_id, message.attempt) == (before.job_id, before.attempt)
    )


def _merged(message: StepDone, before: StepDone) -> StepDone:
    """The newer step, with the older one's preview where it brings none of its own."""
    if message.preview is not None or before.preview is None:
        return message
    return StepDone(
        job_id=message.job_id,
        attempt=message.attempt,
        step=message.step,
        steps=message.steps,
        batch=message.batch,
        batches=message.batches,
        preview=before.preview,
        loss=message.loss,
    )
