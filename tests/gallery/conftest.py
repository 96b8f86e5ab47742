"""A data folder of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.settings.paths import Paths
from tests.gallery.pictures import paths_in


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_in(tmp_path)
