"""One program per data folder, one program per port: the lock and the listening socket, each with a clear sentence when it is taken.

Standard library only: this runs before anything slow is imported.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

from modules.domain.errors import CannotStart
from modules.settings.flags import DEFAULT_PORT, Flags
from modules.settings.paths import Paths

BACKLOG = 512
TRIED_PORTS = 100

_log = logging.getLogger(__name__)


class Instance:
    """This program's hold on its data folder, until `release` or the end of the process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, url: str) -> None:
        """Leave our address for a second instance to name."""
        note = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, note, 0)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two programs lock two files of one name."""
        os.close(self._descriptor)


def acquire(paths: Paths) -> Instance:
    """Lock the data folder, making it if need be. Raises `CannotStart` when another instance has it or it can't be written."""
    path = paths.state / "instance.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(f"The data folder {paths.data} can't be written: {error.strerror}. Choose another with --data-dir.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CannotStart(_taken(paths.data, path)) from None
    except OSError as error:
        _log.warning("The file system of %s has no locks (%s): take care not to start a second instance on it.", path, error.strerror)
    return Instance(descriptor)


def bind(flags: Flags) -> socket.socket:
    """The listening socket that the flags ask for. Without --port the next free one is taken, with it only that one.

    Raises `CannotStart` when the port is taken or the address is not this machine's.
    """
    if flags.port is not None:
        return _listen(flags.host, flags.port)
    for port in range(DEFAULT_PORT, DEFAULT_PORT + TRIED_PORTS):
        with suppress(_PortTaken):
            return _listen(flags.host, port)
    raise CannotStart(f"The ports from {DEFAULT_PORT} to {DEFAULT_PORT + TRIED_PORTS - 1} are all taken. Name a free one with --port.")


def urls(flags: Flags, sock: socket.socket) -> tuple[str, ...]:
    """The addresses of the page: this machine's first, then one for other machines when they can reach it."""
    scheme = "https" if flags.tls_certfile else "http"
    address, port = sock.getsockname()[:2]
    everywhere = address in ("0.0.0.0", "::")
    names = ["127.0.0.1" if everywhere else address]
    lan = _lan_address() if everywhere else None
    if lan is not None:
        names.append(lan)
    return tuple(f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}" for name in names)


class _PortTaken(CannotStart):
    pass


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise CannotStart(f"--server-name {host} is no address: {error.strerror}.") from error
    sock = socket.socket(family, kind, protocol)
    # A server that just ended must not block its own port; a port that somebody listens on stays taken all the same.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _not_bound(host, port, error) from error
    return sock


def _not_bound(host: str, port: int, error: OSError) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        return _PortTaken(f"Port {port} is taken by another program. Name another with --port, or leave --port out for the next free one.")
    if error.errno == errno.EACCES:
        return CannotStart(f"This user may not listen on port {port}. Ports from 1024 on are free to all: name one with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotStart(f"--server-name {host} is not an address of this machine.")
    return CannotStart(f"Can't listen on {host} port {port}: {error.strerror}.")


def _taken(data: Path, path: Path) -> str:
    where = ""
    with suppress(OSError, ValueError):
        note = json.loads(path.read_text("utf-8"))
        if isinstance(note, dict):
            where = f" at {note.get('url')} (process {note.get('pid')})"
    return f"diffusion-webui already runs on the data folder {data}{where}. Use that one, or give this one its own with --data-dir."


def _lan_address() -> str | None:
    """The address that this machine has towards others. Connecting a datagram socket sends nothing."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return None
