"""Gets a picture from an address that a client named, without becoming a client's way into this machine's network.

The name is looked up once and the connection goes to that very address, which must be a public one; each redirect is looked at in the same
way. Size, time and number of redirects are limited. Whether anything is fetched at all is the host's setting, not this module's.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from modules.http_api.errors import Refusal

MAX_BYTES = 32 << 20
MAX_HEAD = 64 << 10
MAX_REDIRECTS = 3
SECONDS = 20.0
_PORTS = {"http": 80, "https": 443}
_PART = 64 << 10

_CARRIERS = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"))
"""IPv6 networks whose addresses carry an IPv4 address, which could be a local one."""

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) to its IP addresses."""


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def fetch(url: str, *, forbid_local: bool, resolve: Resolve | None = None) -> bytes:
    """The file at `url`. Raises `Refusal` for addresses within this machine or network (where forbidden), and where there is no file."""
    until = time.monotonic() + SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        target = _target(url)
        address = _address(target, resolve or _look_up, forbid_local)
        try:
            answer = _get(target, address, until)
        except (OSError, ValueError) as error:
            raise _refusal(f"{target.host} did not answer as a web server does ({error})") from error
        if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("location"):
            url = urljoin(url, answer.headers["location"])
        elif answer.status == 200:
            return answer.body
        else:
            raise _refusal(f"{target.host} answered with {answer.status}")
    raise _refusal("it was redirected too often")


def _refusal(reason: str) -> Refusal:
    return Refusal(422, "Invalid image url", f"The picture could not be fetched: {reason}.")


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise _refusal(f"this is no address ({error})") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or not url.isprintable():
        raise _refusal("this is no plain http or https address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or " " in path:
        raise _refusal("its path must be percent-encoded")
    try:
        host = parts.hostname.encode("idna").decode()
    except UnicodeError as error:
        raise _refusal("its host has no name that could be looked up") from error
    return _Target(parts.scheme, host, port or _PORTS[parts.scheme], path)


def _look_up(host: str, port: int) -> Sequence[str]:
    return [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _address(target: _Target, resolve: Resolve, forbid_local: bool) -> str:
    """The address to connect to. All that the name stands for must be allowed, so that trying again does not find another."""
    try:
        found = list(resolve(target.host, target.port))
    except (OSError, UnicodeError) as error:
        raise _refusal(f"there is no host {ascii(target.host)[:80]}") from error
    if not found or (forbid_local and not all(map(_is_public, found))):
        raise Refusal(422, "Request to local resource not allowed", "The address is not on the public web.")
    return found[0]


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _CARRIERS):
            return False
        address = address.ipv4_mapped or address
    return address.is_global and not address.is_multicast


def _get(target: _Target, address: str, until: float) -> _Answer:
    """Ask `address` for the target. HTTP/1.0, so that the body is simply what comes until the end. Raises OSError and ValueError."""
    plain = socket.create_connection((address, target.port), timeout=_left(until))
    with closing(plain):
        connection = plain
        if target.scheme == "https":
            connection = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        with closing(connection):
            host = f"[{target.host}]" if ":" in target.host else target.host
            where = host if target.port == _PORTS[target.scheme] else f"{host}:{target.port}"
            request = f"GET {target.path} HTTP/1.0\r\nHost: {where}\r\nAccept: image/*\r\nUser-Agent: diffusion-webui\r\n\r\n"
            connection.sendall(request.encode("ascii"))
            return _read(_parts(connection, until))


def _parts(connection: socket.socket, until: float) -> Iterator[bytes]:
    while True:
        connection.settimeout(_left(until))
        part = connection.recv(_PART)
        if not part:
            return
        yield part


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def _read(parts: Iterator[bytes]) -> _Answer:
    data = b""
    for part in parts:
        data += part
        if b"\r\n\r\n" in data or len(data) > MAX_HEAD:
            break
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if not end or len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ValueError("no HTTP answer")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raise ValueError("an answer in pieces")
    length = headers.get("content-length", "")
    wanted = int(length) if length.isdigit() else None
    whole = bytearray(body)
    for part in parts if wanted is None or len(whole) < wanted else ():
        whole += part
        if len(whole) > MAX_BYTES:
            raise ValueError(f"a file of more than {MAX_BYTES >> 20} MiB")
        if wanted is not None and len(whole) >= wanted:
            break
    if wanted is not None and len(whole) < wanted:
        raise ValueError("a file that breaks off")
    return _Answer(int(words[1]), headers, bytes(whole))
