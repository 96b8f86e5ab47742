"""What does a prompt become with a style, and what was it before? A1111's rules, on plain text."""

from __future__ import annotations

from collections.abc import Iterable

PLACE = "{prompt}"


def with_styles(prompt: str, styles: Iterable[str]) -> str:
    """The prompt with the texts of styles added one after another: around it where a text says `{prompt}`, else after a comma."""
    for style in styles:
        prompt = style.replace(PLACE, prompt) if PLACE in style else ", ".join(filter(None, (prompt.strip(), style.strip())))
    return prompt


def without_style(prompt: str, style: str) -> str | None:
    """The prompt that `with_styles` made `prompt` from; None where the style's text is not in it. The inverse but for blanks."""
    text = style.strip()
    if not text:
        return prompt
    if PLACE in text:
        before, _, after = text.partition(PLACE)
        fits = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
        return prompt[len(before) : len(prompt) - len(after)] if fits else None
    stripped = prompt.rstrip()
    if not stripped.endswith(text):
        return None
    rest = stripped[: -len(text)].rstrip()
    return rest[:-1].rstrip() if rest.endswith(",") else rest
