"""Shared by all tests: the one browser, and asking a fresh interpreter what an import drags in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# The tests' networks are so small that a second thread only waits, for minutes where the machine has other work. Set before torch is there.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests come last: the event loop that Playwright leaves in this thread is in the way of tests with one of their own.

    Where several processes share the tests, a file's go to one of them, for what their fixtures start; its browser tests are as another
    file's.
    """
    items.sort(key=_needs_browser)
    for item in items:
        group = f"{item.path.parent.name}/{item.path.name}"
        item.add_marker(pytest.mark.xdist_group(f"{group}:browser" if _needs_browser(item) else group))


def _needs_browser(item: pytest.Item) -> bool:
    return "browser" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for all tests."""
    from tests.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def subprocess_modules() -> Callable[..., set[str]]:
    """A function that imports modules in a fresh interpreter and returns the top-level names in its sys.modules."""

    def top_level(*names: str) -> set[str]:
        code = f"import sys, {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    return top_level
