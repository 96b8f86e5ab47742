"""Was the program told to stop? Ctrl+C and SIGTERM from the first moment on, whatever the main thread is in the middle of.

Python drops a KeyboardInterrupt that falls into a callback (of an import, of a collected object): then the wish would be lost. Here it is
also remembered, so that whoever comes to a resting place can look.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stopping:
    """Whether somebody asked the program to stop."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if it was asked for, even where the first one got lost."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Generator[None]:
        """Within, SIGINT and SIGTERM are remembered and raise `KeyboardInterrupt`. For the main thread."""
        before = {number: signal.signal(number, self._told) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt
