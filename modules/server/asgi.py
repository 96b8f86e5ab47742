"""Small ASGI tools of the doors: read a header, give a whole answer, swallow a body. Knows no rule about who may do what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

RawHeaders = Sequence[tuple[bytes, bytes]]

DRAIN_LIMIT = 4 << 20
"""How many bytes of a refused request are read so that the answer arrives and the connection stays usable."""


def header(scope: Scope, name: bytes) -> str:
    """The header `name` (lower case) as text, "" when missing. Repeated headers give the first; see `headers`."""
    found = headers(scope, name)
    return found[0] if found else ""


def headers(scope: Scope, name: bytes) -> list[str]:
    """Every value of the header `name` (lower case) in order."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def wants_page(scope: Scope) -> bool:
    """Whether a person is looking at the address: a navigation, rather than a script or a program."""
    if scope["method"] not in ("GET", "HEAD") or header(scope, b"sec-fetch-dest") not in ("", "document"):
        return False
    return "text/html" in header(scope, b"accept")


async def answer(send: Send, status: int, body: bytes, content_type: bytes, extra: RawHeaders = ()) -> None:
    """A whole response that nobody may cache."""
    fixed = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *extra]})
    await send({"type": "http.response.body", "body": body})


async def answer_sentence(send: Send, status: int, sentence: str, extra: RawHeaders = ()) -> None:
    """A refusal as JSON in FastAPI's shape, so that A1111 clients show the sentence."""
    await answer(send, status, json.dumps({"detail": sentence}).encode(), b"application/json", extra)


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or None when it is longer than `limit` bytes or the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def drain(receive: Receive, limit: int = DRAIN_LIMIT) -> bool:
    """Read and forget the body; False when it is longer than `limit` bytes, so that the connection has to be closed."""
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return False
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return True
        if size > limit:
            return False
