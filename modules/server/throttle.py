"""How often a password may be tried: a sliding minute per address and one over all of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

WINDOW = 60.0
PER_ADDRESS = 5
OVERALL = 30
REMEMBERED = 1000


class Throttle:
    """Counts failures. Memory is bounded: past the limits nothing is tried, so nothing more is recorded.

    An address that once knew a password is spared the overall limit, so that guessers elsewhere cannot lock it out; its own limit stays,
    since letting a right password pass while wrong ones are refused would tell a guesser which is which.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: deque[tuple[float, str]] = deque()
        self._proven: dict[str, None] = {}

    def wait(self, address: str) -> int:
        """Seconds until `address` may try again, 0 when it may now."""
        now = self._clock()
        while self._failures and self._failures[0][0] <= now - WINDOW:
            self._failures.popleft()
        own = [moment for moment, who in self._failures if who == address]
        waits = [0.0]
        if len(own) >= PER_ADDRESS:
            waits.append(own[-PER_ADDRESS] + WINDOW - now)
        if len(self._failures) >= OVERALL and address not in self._proven:
            waits.append(self._failures[-OVERALL][0] + WINDOW - now)
        return math.ceil(max(waits))

    def failed(self, address: str) -> None:
        """Record a wrong password from `address`."""
        self._failures.append((self._clock(), address))

    def succeeded(self, address: str) -> None:
        """Record a right password from `address`."""
        self._proven.pop(address, None)
        self._proven[address] = None
        if len(self._proven) > REMEMBERED:
            del self._proven[next(iter(self._proven))]
