"""What the port says while the program is still being imported: a tiny page that tells what is loading and turns into the real one.

Standard library only: it has to answer before the server itself can be imported. It hands the listening socket over
without closing it, so that whoever connects in between waits instead of being refused.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from contextlib import suppress
from html import escape

from modules.domain.errors import CannotStart

MAX_CONNECTIONS = 64
PATIENCE = 5.0
"""Seconds that a connection may take to say what it wants; browsers open some that never do."""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>diffusion-webui is starting</title><noscript><meta http-equiv="refresh" content="2"></noscript><style>
:root {{ color-scheme: light dark }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center;
  font: 16px/1.5 system-ui, sans-serif; background: #f5f6f8; color: #1d2430 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f131a; color: #e6e9ee }} }}
main {{ text-align: center; padding: 16px }} p {{ margin: 12px 0 0 }}
i {{ display: block; width: 180px; height: 4px; margin: 16px auto 0; border-radius: 2px; overflow: hidden; background: #8884 }}
i::after {{ content: ""; display: block; width: 40%; height: 100%; background: #d9772b; animation: go 1.2s infinite ease-in-out alternate }}
@keyframes go {{ to {{ margin-left: 60% }} }}
@media (prefers-reduced-motion: reduce) {{ i::after {{ animation: none; width: 100% }} }}
</style></head><body><main><b>diffusion-webui is starting</b><p id="say" role="status">{text}</p><i></i></main><script>
async function look() {{
  try {{
    const reply = await fetch("/internal/ping", {{ cache: "no-store" }});
    const state = await reply.json().catch(() => ({{}}));
    if (state.ready !== false) return location.reload();
    document.getElementById("say").textContent = state.text;
  }} catch {{ /* the servers are changing places */ }}
  setTimeout(look, 250);
}}
setTimeout(look, 250);
</script></body></html>
"""


class Splash:
    """Answers on `sock`, which already listens, from `start` to `stop`. `tls` makes it speak https."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._sock = sock
        self._tls = tls
        self._text = "Starting …"
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="splash", daemon=True)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._sock.setblocking(False)
        self._thread.start()

    def say(self, text: str) -> None:
        """Show `text` as what is being done now."""
        self._text = text

    def stop(self) -> None:
        """Accept nothing more. The socket stays open and listening; connections wait in it for the real server."""
        self._wake.close()
        if self._thread.is_alive():
            self._thread.join()
        self._woken.close()

    def _accept(self) -> None:
        while True:
            readable, _, _ = select.select([self._sock, self._woken], [], [])
            if self._woken in readable:
                return
            with suppress(BlockingIOError, ConnectionError):
                connection, _ = self._sock.accept()
                if not self._places.acquire(blocking=False):
                    connection.close()
                    continue
                threading.Thread(target=self._serve, args=(connection,), name="splash-connection", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError):
                connection.settimeout(PATIENCE)
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self._answer(connection)
        finally:
            connection.close()
            self._places.release()

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536:
            part = connection.recv(4096)
            if not part:
                return
            head += part
        connection.sendall(_response(head, self._text))
        # Closing with unread bytes would reset the connection and lose the answer: let the other side close first.
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1.0)
        while connection.recv(65536):
            pass


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """A server's TLS for `Splash` and `serve`. Raises `CannotStart` when the files are no certificate with its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"--tls-certfile {certfile} and --tls-keyfile {keyfile} are no certificate with its key: {error}") from error
    return context


def _response(head: bytes, text: str) -> bytes:
    method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    status, kind = "503 Service Unavailable", "application/json"
    body = json.dumps({"ready": False, "text": text, "detail": "diffusion-webui is still starting."})
    if path == b"/internal/ping":
        status = "200 OK"
    elif method in (b"GET", b"HEAD") and b"text/html" in head:
        kind, body = "text/html; charset=utf-8", _PAGE.format(text=escape(text))
    content = body.encode()
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Retry-After: 1",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: SAMEORIGIN",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else content)
