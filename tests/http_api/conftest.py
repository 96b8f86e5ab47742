"""The API in process, over a real queue, a real gallery and the engine that obeys the prompt (tests/jobs/scripted_runner.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http_api.front import Front, front


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One for the tests of a file that only look, or that clear up behind themselves."""
    with front(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Front]:
    """One of its own for a test that changes something."""
    with front(tmp_path) as made:
        yield made
