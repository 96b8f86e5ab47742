"""Run the guarded app on the socket that the splash page held, and stop within seconds when told to."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import ssl
import threading
import webbrowser
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from modules.server.login import Accounts
from modules.server.stopping import Stopping

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE = 1
"""Seconds that open answers get to end after Ctrl+C; event streams never end by themselves."""

_log = logging.getLogger("uvicorn.error")


def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    tls: ssl.SSLContext | None = None,
    log_level: str = "INFO",
    on_ready: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    stopping: Stopping | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, from the main thread. `on_ready` runs once connections are answered, `on_stop` after the last one.

    A second Ctrl+C does not wait for open answers. Where `stopping` says that the stop was asked for before, it begins at once.
    """
    is_debugged = log_level.upper() == "DEBUG"
    config = uvicorn.Config(
        app,
        log_config=None,
        # Its own lines about processes and lifespans are for developers.
        log_level="debug" if is_debugged else "warning",
        access_log=is_debugged,
        server_header=False,
        # Whoever connects is who it is: no header of a client changes the address that wrong passwords are counted by.
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
        backlog=512,
        ws="none",
    )
    config.load()
    config.ssl = tls
    level = _log.level
    try:
        _Server(config, on_ready, stopping or Stopping()).run(sockets=[sock])
    finally:
        _log.setLevel(level)
        if on_stop is not None:
            on_stop()


def startup_lines(urls: Sequence[str], who: Accounts) -> list[str]:
    """What to print once the page answers: where it is, and the made-up login if there is one."""
    lines = [f"diffusion-webui is at  {urls[0]}"]
    lines += [f"for other machines at  {url}" for url in urls[1:]]
    if who.generated is not None:
        name, password = who.generated
        lines.append(f"Log in as  {name}  with the password  {password}  (made up for this start; set your own with --gradio-auth)")
    return lines


def open_browser(url: str) -> None:
    """Open the page in the user's browser, without waiting for it."""
    threading.Thread(target=webbrowser.open, args=(url,), name="autolaunch", daemon=True).start()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None] | None, stopping: Stopping) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Ending the open event streams is what a stop does; uvicorn would log each as an error with its traceback.
        _log.setLevel(logging.CRITICAL)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Like uvicorn's, but without raising the signal again at the end: the caller still has an engine to stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._told_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        self.should_exit = self.should_exit or self._stopping.asked
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.handle_exit(number, frame)
