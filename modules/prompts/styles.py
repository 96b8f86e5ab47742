"""What does a prompt become with a style, and what was it before? A1111's rules, on plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PLACE = "{prompt}"


def with_styles(prompt: str, styles: Iterable[str]) -> str:
    """The prompt with the texts of styles added one after another: around it where a text says `{prompt}`, else after a comma."""
    for style in styles:
        prompt = style.replace(PLACE, prompt) if PLACE in style else ", ".join(filter(None, (prompt.strip(), style.strip())))
    return prompt


def without_styles(prompt: str, negative: str, styles: Iterable[tuple[str, str, str]]) -> tuple[str, str, list[str]]:
    """The two prompts without the texts of those `styles` (name, prompt, negative prompt) that are in both of them, and their names.

    Adding these again gives the texts as they were, to the letter: a style whose removal could not be undone so stays in them.
    """
    found: list[tuple[str, str, str]] = []
    left = list(styles)
    while True:
        for style in left:
            shorter = without_style(prompt, style[1]), without_style(negative, style[2])
            if (style[1].strip() or style[2].strip()) and shorter[0] is not None and shorter[1] is not None:
                again = with_styles(shorter[0], [style[1]]), with_styles(shorter[1], [style[2]])
                if again == (prompt, negative):
                    break
        else:
            return prompt, negative, [name for name, *_ in reversed(found)]
        prompt, negative = shorter[0], shorter[1]
        found.append(style)
        left.remove(style)


def without_texts(prompt: str, styles: Sequence[str]) -> str | None:
    """The prompt that `with_styles` makes `prompt` of, to the letter, with the texts of these styles; None where there is none."""
    bare: str | None = prompt
    for style in reversed(styles):
        bare = None if bare is None else without_style(bare, style)
    return bare if bare is not None and with_styles(bare, styles) == prompt else None


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
