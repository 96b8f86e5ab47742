"""Who looks at the program: what they make bears their name, and whose jobs, runs and pictures they are shown."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Owners = tuple[str, ...] | None
"""The names of those whose things are meant; None for everybody's. The empty name owns what was made where nobody had to log in."""

FORWARDING = ("x-forwarded-for", "forwarded", "x-real-ip")
"""The headers by which a proxy says whom it stands for."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever the door let in; `name` is empty where nobody has to log in.

    Without a login everything is shown: whoever comes then sits at the machine, whose files they could read anyway. With one, an account
    is shown what it made, and at the machine itself also what was made there before there was a login, which is no business of a guest's
    on a public link.
    """

    name: str = ""
    at_the_machine: bool = False

    @property
    def owners(self) -> Owners:
        """Whose things they are shown."""
        if not self.name:
            return None
        return (self.name, "") if self.at_the_machine else (self.name,)

    def sees(self, owner: str) -> bool:
        """Whether something of this owner's is shown to them, and theirs to end."""
        return self.owners is None or owner in self.owners


def viewer_of(state: object) -> Viewer:
    """Whom the door let in, from a request's `state`."""
    found = getattr(state, "viewer", None)
    return found if isinstance(found, Viewer) else Viewer()


def is_at_the_machine(address: str, host: str, *, forwarded: bool) -> bool:
    """Whether a request comes from the machine itself: by the caller's address and by the `host` that was called, so that no tunnel
    counts, and no proxy that says whom it stands for (`forwarded`)."""
    return is_loopback(address) and is_loopback(host.rsplit(":", 1)[0].strip("[]")) and not forwarded


def is_loopback(host: str) -> bool:
    """Whether this address or name is the machine's own, heard by nobody else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"
