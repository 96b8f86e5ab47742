"""A style: words kept under a name, to be added to a prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """`{prompt}` in a text stands for the prompt itself; a text without it is put after the prompt."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
