"""The public link: Gradio's tunnel to the guarded port, or a plain sentence about why there is none.

The only module of the server that knows Gradio, and only when it is asked for a link.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_EVERYWHERE = ("0.0.0.0", "::")


def open_tunnel(port: int, *, host: str = "127.0.0.1", say: Callable[[str], None] = print) -> str | None:
    """The public https address that leads to `host`:`port`, or None after a sentence to `say`. Never raises; takes up to a minute."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tunnel") as thread:
        future = thread.submit(_open, "127.0.0.1" if host in _EVERYWHERE else host, port)
        error = future.exception()
    if error is None:
        return future.result()
    _log.info("The tunnel could not be opened.", exc_info=error)
    say(f"There is no public link: {_reason(error)} The page goes on at its local address.")
    return None


def _open(host: str, port: int) -> str:
    networking = importlib.import_module("gradio.networking")
    _check_program(importlib.import_module("gradio.tunneling"))
    return str(networking.setup_tunnel(host, port, secrets.token_urlsafe(32), None, None))


def _check_program(tunneling: Any) -> None:
    # Gradio checks the tunnel's program (frpc) when it downloads it, but not when it starts one that lies there already.
    program = Path(tunneling.BINARY_PATH)
    expected = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if program.exists() and expected is not None and hashlib.sha256(program.read_bytes()).hexdigest() != expected:
        raise OSError(f"the tunnel's program {program} is not the one that Gradio published. Delete it and start again.")


def _reason(error: BaseException) -> str:
    detail = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__
    if cause is not None and str(cause):
        detail = f"{detail.rstrip('.')} ({' '.join(str(cause).split())})."
    return detail[:400] if detail.endswith(".") else f"{detail[:400]}."
