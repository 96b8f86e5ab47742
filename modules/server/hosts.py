"""Which names this server answers to, and which web pages may call it: the rules behind the Host and Origin checks, without any I/O.

A browser sends two things that a page cannot forge: the name it believes it talks to (Host) and the page that asks (Origin). A name that
is not ours is a rebound one (DNS rebinding); an Origin that is not that name is another site.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, field

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """`names` are lower case and without port. `any_address` also admits every literal IP address: a server that listens to others is
    reached by addresses it cannot know (containers, port forwarding), and rebinding needs a name."""

    names: frozenset[str] = field(default_factory=frozenset)
    any_address: bool = False

    def admits(self, host: str, more: Collection[str] = ()) -> bool:
        """Whether a Host header of `host` means this server; `more` are names that were added while it runs."""
        split = split_host(host)
        if split is None:
            return False
        name = split[0]
        if name == "localhost" or name in self.names or name in more:
            return True
        address = _address(name)
        return address is not None and (self.any_address or address.is_loopback)


def split_host(text: str) -> tuple[str, int | None] | None:
    """(name in lower case without brackets, port or None) of `name:port`, or None when it is no host."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    return (match["six"] or match["name"]).lower(), port


def is_same_origin(origin: str, host: str) -> bool:
    """Whether the page of an Origin header came from where the Host header points: name and port alike.

    The scheme is not compared: behind a proxy that ends TLS this server sees http where the browser has https.
    """
    scheme, separator, rest = origin.lower().partition("://")
    ours, theirs = split_host(host), split_host(rest)
    if not separator or scheme not in _DEFAULT_PORTS or ours is None or theirs is None:
        return False
    default = _DEFAULT_PORTS[scheme]
    return ours[0] == theirs[0] and (ours[1] or default) == (theirs[1] or default)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
