"""How a value says that it can't be: a condition and the sentence for the user, as `InvalidRequest`."""

from __future__ import annotations

import re

from modules.domain.errors import InvalidRequest

_PICTURE_ID = re.compile(r"[0-9a-f]{32}")


def check(condition: bool, message: str) -> None:
    """Raise `InvalidRequest` with `message` unless the condition holds."""
    if not condition:
        raise InvalidRequest(message)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `InvalidRequest` unless `value`, called `name` on the page, is a number from `low` to `high`."""
    if not low <= value <= high:
        try:
            shown = f"{value:g}"
        except OverflowError:
            # whole numbers have no end, and this one is longer than a float can be
            shown = "a number of hundreds of digits"
        raise InvalidRequest(f"{name} must be from {low:g} to {high:g}, not {shown}.")


def check_text(name: str, text: str) -> None:
    """Raise `InvalidRequest` where `text`, called `name` on the page, holds half of a character.

    JSON lets the halves of a surrogate pair in one by one, and no file, tokenizer or answer could take such a text further.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{name} holds half of a character, at position {error.start + 1}: delete it and type it again.") from None


def check_picture_id(text: str) -> None:
    """Raise `InvalidRequest` unless `text` can be the id of a picture in `gallery.inputs.InputStore`."""
    check(_PICTURE_ID.fullmatch(text) is not None, f"{text[:40]!r} is not the id of a picture: upload it first.")
