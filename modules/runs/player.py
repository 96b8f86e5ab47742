"""How is a script played? Its generator, the step that it waits for, and which of that step's requests are answered already.

Memory only: a player is made anew from a run's row and its jobs whenever there is none. Decides nothing; `runs` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from modules.domain.jobs import JobRequest
from modules.runs.run import Run, request_key
from modules.scripts.script import Environment, Outcome, Result, Script, Step, Steps


@dataclass(slots=True)
class Slot:
    """One request of the step: the job that draws it, once there is one, and what became of it, once it is over."""

    request: JobRequest
    key: str
    occurrence: int
    job_id: str = ""
    result: Result | None = None


@dataclass(slots=True)
class Player:
    """A script that is being played. After `begin` and each `go_on` either `slots` hold the next step or `outcome` is there."""

    run: Run
    steps: Steps
    known: Mapping[tuple[str, int], str]
    """The jobs that the run has already, by key and occurrence."""
    expected: int = 0
    """How many jobs the script says there will be."""
    slots: list[Slot] = field(default_factory=list[Slot])
    outcome: Outcome | None = None
    results: list[Result] = field(default_factory=list[Result])
    """All of the steps before."""
    lasted: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    """Seconds that the latest of its jobs took."""
    _seen: dict[str, int] = field(default_factory=dict[str, int])

    def begin(self) -> None:
        """Play to the first step. Raises what the script raises."""
        self._take(None)

    def go_on(self) -> None:
        """Give the script the step's results, which must all be there, and play to the next step."""
        answered = tuple(slot.result for slot in self.slots if slot.result is not None)
        self.results += answered
        self._take(answered)

    @property
    def waits(self) -> bool:
        """Whether a result of the step is missing."""
        return any(slot.result is None for slot in self.slots)

    @property
    def pace(self) -> float | None:
        """How many seconds one of its jobs takes; None while that is not known."""
        return sum(self.lasted) / len(self.lasted) if self.lasted else None

    @property
    def done(self) -> int:
        """How many requests are over."""
        return len(self.results) + sum(slot.result is not None for slot in self.slots)

    @property
    def total(self) -> int:
        """How many there will be, as far as one can tell."""
        asked = len(self.results) + len(self.slots)
        return asked if self.outcome is not None else max(asked, self.expected)

    def _take(self, answer: tuple[Result, ...] | None) -> None:
        self.slots = []
        try:
            step: Step = next(self.steps) if answer is None else self.steps.send(answer)
        except StopIteration as end:
            self.outcome = end.value
            return
        for request in step:
            key = request_key(request)
            occurrence = self._seen.get(key, 0)
            self._seen[key] = occurrence + 1
            self.slots.append(Slot(request, key, occurrence, self.known.get((key, occurrence), "")))


def player_of(run: Run, script: Script, environment: Environment, known: Mapping[tuple[str, int], str]) -> Player:
    """A player at its first step. Raises what the script raises for values that can't be."""
    player = Player(run, script.run(run.request, run.values, environment), known)
    player.expected = script.count(run.request, run.values) if script.count else 0
    player.begin()
    return player
