"""Which text is drawn at which step? `[from:to:when]` and `[a|b]` timelines, and prompts joined with AND.

Knows no tokens and no networks. Nothing here raises: a prompt that is no proper timeline is taken as it is written. Text is read once,
from left to right, with explicit stacks, so neither length nor nesting can hurt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_PIECE = re.compile(r"[()\[\]:|]|(?:[^\\()\[\]:|]|\\.)+|\\")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*([-+]?(?:[0-9]+\.?|[0-9]*\.[0-9]+))\s*")


def prompt_schedule(prompt: str, steps: int, hires_steps: int | None = None, old_rule: bool = False) -> list[tuple[int, str]]:
    """`[(end_at_step, text)]`: each text holds up to and including its step, counted from 1; the last ends at the last step.

    A number with a decimal point is a fraction of the steps, one without is a step. Given `hires_steps`, the schedule is the second
    pass's, whose fractions run from 1 to 2 and whose steps go on counting. `old_rule` is A1111's before 1.6: what is below 1 is a
    fraction, and both passes are alike.
    """
    root = _parse(prompt)
    last = steps if hires_steps is None or old_rule else hires_steps
    if root is None:
        return [(last, prompt)]
    when = _old_rule(steps) if old_rule else _new_rule(steps, hires_steps)
    ends = {last}
    for node in _nodes(root):
        if isinstance(node, _Change):
            node.step = max(0, min(last, when(node.number)))
            ends.add(node.step)
        else:
            ends.update(range(1, last + 1))
    return [(end, _text_at(root, end)) for end in sorted(ends) if end > 0]


def split_and(prompt: str) -> list[tuple[str, float]]:
    """The parts of a prompt joined with the word AND and their weights: "a :0.7 AND b" -> [("a", 0.7), (" b", 1.0)]."""
    return [_weighted(part) for part in _AND.split(prompt)]


def _weighted(part: str) -> tuple[str, float]:
    text, colon, tail = part.rpartition(":")
    match = _WEIGHT.fullmatch(tail) if colon else None
    return (text.rstrip(), float(match.group(1))) if match else (part.rstrip(), 1.0)


@dataclass(slots=True)
class _Change:
    """[before:after:number]; `step` is the last one that shows `before`."""

    before: _Nodes
    after: _Nodes
    number: str
    step: int = 0


@dataclass(slots=True)
class _Alternation:
    """[a|b|c]: another option each step."""

    options: list[_Nodes]


_Nodes = list["str | _Change | _Alternation | _Nodes"]


@dataclass(slots=True)
class _Frame:
    """An open bracket with its segments so far and the separators between them."""

    bracket: str
    segments: list[_Nodes] = field(default_factory=lambda: [[]])
    separators: str = ""

    def literal(self) -> _Nodes:
        nodes: _Nodes = [self.bracket, self.segments[0]]
        for separator, segment in zip(self.separators, self.segments[1:], strict=True):
            nodes += [separator, segment]
        return nodes


def _parse(prompt: str) -> _Nodes | None:
    """The prompt as a tree, or None where it can't be read as one: a stray | or a backslash that escapes nothing."""
    root: _Nodes = []
    frames: list[_Frame] = []
    for match in _PIECE.finditer(prompt):
        piece = match.group()
        if piece == "\\":
            return None
        if piece in "([":
            frames.append(_Frame(piece))
        elif not frames:
            if piece == "|":
                return None
            root.append(piece)
        elif piece in ":|":
            frames[-1].separators += piece
            frames[-1].segments.append([])
        elif piece not in ")]":
            frames[-1].segments[-1].append(piece)
        else:
            closed = _closed(frames[-1], piece)
            if closed is not None:
                frames.pop()
                (frames[-1].segments[-1] if frames else root).append(closed)
            elif _flush(frames, root):
                root.append(piece)
            else:
                return None
    return root if _flush(frames, root) else None


def _closed(frame: _Frame, bracket: str) -> _Change | _Alternation | _Nodes | None:
    """What a bracket means that `bracket` closes; None where it means nothing, so that its characters stand for themselves."""
    if (frame.bracket, bracket) not in (("(", ")"), ("[", "]")):
        return None
    if not frame.separators or (bracket == ")" and frame.separators == ":"):
        return [*frame.literal(), bracket]
    if bracket == "]" and set(frame.separators) == {"|"}:
        return _Alternation(frame.segments)
    if bracket == "]" and frame.separators in (":", "::"):
        last = frame.segments[-1]
        number = _NUMBER.fullmatch(last[0]) if len(last) == 1 and isinstance(last[0], str) else None
        if number:
            before: _Nodes = frame.segments[0] if len(frame.segments) == 3 else []
            return _Change(before, frame.segments[-2], number.group(1))
    return None


def _flush(frames: list[_Frame], root: _Nodes) -> bool:
    """Take all open brackets as literal text: what surrounds a bracket that means nothing means nothing either. False for a stray |."""
    for frame in frames:
        if "|" in frame.separators:
            return False
        root.extend(frame.literal())
    frames.clear()
    return True


def _old_rule(steps: int) -> Callable[[str], int]:
    def when(number: str) -> int:
        value = _bounded(number)
        return int(value * steps if value < 1 else value)

    return when


def _new_rule(steps: int, hires_steps: int | None) -> Callable[[str], int]:
    passed, length, done = (0, steps, 0) if hires_steps is None else (1, hires_steps, steps)

    def when(number: str) -> int:
        value = _bounded(number)
        return int((value - passed) * length) if "." in number else int(value - done)

    return when


def _bounded(number: str) -> float:
    """The number, kept where int() can take it."""
    return max(-1e9, min(1e9, float(number)))


def _nodes(root: _Nodes) -> Iterator[_Change | _Alternation]:
    stack: list[str | _Change | _Alternation | _Nodes] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, _Change):
            yield node
            stack += [node.before, node.after]
        elif isinstance(node, _Alternation):
            yield node
            stack += node.options


def _text_at(root: _Nodes, step: int) -> str:
    texts: list[str] = []
    stack: list[str | _Change | _Alternation | _Nodes] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, list):
            stack.extend(reversed(node))
        elif isinstance(node, _Change):
            stack.append(node.before if step <= node.step else node.after)
        else:
            stack.append(node.options[(step - 1) % len(node.options)])
    return "".join(texts)
