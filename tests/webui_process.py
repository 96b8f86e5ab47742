"""Starts the real program on a free port with its own data folder, and ends it. What a person does with `./webui.sh`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class WebUI:
    """A running program; `url` ends without a slash."""

    data: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    url: str = ""
    log: Path = field(init=False)
    said_before: int = 0
    """How long the log was when this run started: what earlier runs said does not count."""

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = self.data / "webui.log"

    def start(self, ready: bool = True) -> WebUI:
        """Start and wait until the page answers (`ready`) or only until the port does."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("COMMANDLINE_ARGS", None)
        command = [sys.executable, "app.py", "--data-dir", str(self.data), "--port", "0", *self.arguments]
        self.said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True)
        self.url = wait_for(self._announced, 120, "the program to say its address")
        if ready:
            wait_for(self.is_ready, 240, "the page to be there")
        return self

    def wait_for_log(self, text: str) -> None:
        """Wait until the program has said `text`."""
        wait_for(lambda: self._check_alive() or text in self.log.read_text(), 120, f"the log to say {text!r}")

    def run_to_its_end(self) -> int:
        """Start a program that is expected to refuse, and return its exit code."""
        with contextlib.suppress(AssertionError):
            self.start(ready=False)
        assert self.process is not None
        return self.process.wait(60)

    def _announced(self) -> str | None:
        self._check_alive()
        lines = [line for line in self.log.read_text()[self.said_before :].splitlines() if "Starting on http" in line]
        return lines[-1].split("Starting on ")[1].strip().rstrip("/") if lines else None

    def is_ready(self) -> bool:
        """Whether the real page, not the splash, answers."""
        self._check_alive()
        try:
            return httpx.get(f"{self.url}/internal/ping", timeout=5).json().get("ready") is True
        except (httpx.HTTPError, ValueError):
            return False

    def engine_state(self) -> str:
        return str(httpx.get(f"{self.url}/internal/ping", timeout=5).json()["engine"]["state"])

    def engine_pid(self) -> int:
        """The engine's process: the child that has torch in it."""
        import psutil

        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        engines = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert engines, f"no engine among {[child.cmdline() for child in children]}"
        return engines[0].pid

    def _check_alive(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"The program ended:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        """Ctrl+C and wait."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Power cut."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)


def wait_for(check: Callable[[], object], seconds: float, what: str) -> str:
    """Ask `check` until it gives something true; its answer as text."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = check()
        if answer:
            return str(answer)
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")
