"""How long does somebody wait? One JSON line: seconds from the start of app.py until the port answers, until the page is interactive, and
until the first picture is on it, when Generate is clicked as soon as it can be.

A real browser waits on the page from the moment that the port answers. Each run has a data folder of its own. Run from the repository:
python -m benchmarks.startup
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import TimeoutError as NotYet

from tests.browser import ARGUMENTS, fill

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red apple"

# A click only counts when the page has taken it: the job is known.
CLICKED = "() => typeof webui !== 'undefined' && [...webui.jobs.values()].length > 0"
SHOWN = "() => { const image = document.querySelector('#txt2img_gallery img'); return image && image.complete && image.naturalWidth > 0; }"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait(check: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/internal/ping", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def measure(browser: Browser, steps: int, flags: list[str]) -> dict[str, float]:
    """One start, from nothing to a picture."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        log = Path(data) / "log"
        started = time.monotonic()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--data-dir", data, *flags]
        with log.open("w") as output:
            program = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "COMMANDLINE_ARGS": ""})
        try:
            wait(lambda: answers(url), 60, "the port")
            found = {"port_answers": time.monotonic() - started}
            found |= use_page(browser, url, started, steps)
        except Exception:
            sys.stderr.write(log.read_text())
            raise
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(30)
    return found


def use_page(browser: Browser, url: str, started: float, steps: int) -> dict[str, float]:
    page = browser.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("#txt2img_generate", timeout=120_000)
    shown = time.monotonic() - started
    while True:
        fill(page, "txt2img_prompt", PROMPT)
        fill(page, "txt2img_steps", steps)
        clicked = time.monotonic() - started
        page.click("#txt2img_generate")
        try:
            page.wait_for_function(CLICKED, timeout=1500)
            break
        except NotYet:
            continue
    page.wait_for_function(SHOWN, timeout=300_000)
    picture = time.monotonic() - started
    page.close()
    return {"page_shown": shown, "interactive": clicked, "first_picture": picture}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("flags", nargs="*", help="more flags for app.py, after --")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=list(ARGUMENTS))
        runs = [measure(browser, arguments.steps, arguments.flags) for _ in range(arguments.runs)]
        browser.close()
    medians = {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    every = {name: [round(run[name], 2) for run in runs] for name in runs[0]}
    print(json.dumps({"benchmark": "startup", "cores": os.cpu_count(), "steps": arguments.steps, **medians, "runs": every}))


if __name__ == "__main__":
    main()
