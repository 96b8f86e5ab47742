"""Known holes stay closed: the versions that closed them are floors in requirements.txt, and what is installed keeps them."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.rules.source import ROOT

FLOORS = {
    "gradio": ("6.31", "CVE-2026-59806 (6.20), CVE-2026-49119 (6.16), CVE-2026-28414 (6.7), CVE-2026-28416 (6.6)"),
    "torch": ("2.10", "CVE-2026-24747 (2.10), CVE-2025-32434 (2.6): weights_only was no wall"),
    "diffusers": ("0.42.1", "GHSA-4prv-5hj7-c2xr (0.42.1), CVE-2026-44513 (0.38): code from model folders"),
    "transformers": ("5.3", "CVE-2026-5241 (after 5.2.0)"),
}


def requirements() -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {item.name.lower(): item for item in found}


@pytest.mark.parametrize("name", FLOORS)
def test_the_floor_is_asked_for(name: str):
    floor = FLOORS[name][0]
    lower = [Version(part.version) for part in requirements()[name].specifier if part.operator in (">=", "==", "~=")]
    assert lower and max(lower) >= Version(floor), FLOORS[name][1]


@pytest.mark.parametrize("name", FLOORS)
def test_the_floor_is_installed(name: str):
    assert Version(version(name)) >= Version(FLOORS[name][0])


def test_every_requirement_has_a_tested_floor_that_is_met():
    for name, item in requirements().items():
        if item.marker is not None and not item.marker.evaluate():
            continue
        assert any(part.operator in (">=", "==", "~=") for part in item.specifier), f"{name} has no floor"
        assert item.specifier.contains(version(name), prereleases=True), f"{name} {version(name)} is outside {item.specifier}"
