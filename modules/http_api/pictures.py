"""How does a picture come in with a request? As base64, bare or in a data: URL, or from an address where the host allows that."""

from __future__ import annotations

import base64
import binascii
import re

from modules.http_api.errors import Refusal
from modules.http_api.safe_fetch import fetch
from modules.settings.schema import Settings

_DATA_URL = re.compile(r"data:[\w.+-]{0,60}(?:/[\w.+-]{0,60})?(?:;[\w=.-]{1,60}){0,8};base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"\s{0,20}https?://", re.IGNORECASE)


def received(text: str, settings: Settings) -> bytes:
    """The file that `text` is or, where the settings allow that, says the address of. Raises `Refusal` in A1111's words."""
    if _ADDRESS.match(text) is None:
        return decoded(text)
    if not settings.api.enable_requests:
        sentence = "This server fetches no pictures: send the file in base64, or have enable_requests set in config.yaml."
        raise Refusal(422, "Requests not allowed", sentence)
    return fetch(text, forbid_local=settings.api.forbid_local_requests)


def decoded(text: str) -> bytes:
    """The file in `text`, base64 with or without a data: URL around it. Raises `Refusal` in A1111's words."""
    head = _DATA_URL.match(text)
    plain = re.sub(r"\s+", "", text[head.end() if head else 0 :])
    try:
        data = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, "Invalid encoded image", f"A picture is sent as base64 of its file; this is none: {error}.") from error
    if not data:
        raise Refusal(422, "Invalid encoded image", "A picture is sent as base64 of its file; this one is empty.")
    return data
