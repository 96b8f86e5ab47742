"""A sampler is found under every name that infotexts and other programs have for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.catalog import Catalog
from modules.domain.errors import InvalidRequest

CATALOG = Catalog(samplers=sampler_infos(), schedules=schedule_infos())
MISC: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "misc.json").read_text())


@pytest.mark.parametrize("case", MISC["sampler_names"], ids=lambda case: str(case["in"]))
def test_old_names_mean_what_they_meant(case: dict[str, Any]) -> None:
    text, schedule = case["in"]
    assert [row.label for row in CATALOG.sampler_and_schedule(text, schedule or "")] == case["out"]


def test_every_name_leads_to_its_row() -> None:
    seen: set[str] = set()
    for row in CATALOG.samplers:
        names = {row.id, row.label.casefold(), *row.aliases}
        assert not names & seen
        seen |= names
        for name in (*names, row.label.upper()):
            assert CATALOG.sampler(name) == row
            assert CATALOG.sampler_and_schedule(name)[0] == row


@pytest.mark.parametrize(
    ("text", "schedule", "sampler", "chosen"),
    [
        ("DPM++ 2M Karras", "", "dpmpp_2m", "automatic"),
        ("DPM++ 2M SDE Karras", "", "dpmpp_2m_sde", "karras"),
        ("Euler a Karras", "Automatic", "euler_ancestral", "karras"),
        ("Euler a Karras", "Simple", "euler_ancestral", "simple"),
        ("Euler", "uniform", "euler", "uniform"),
        ("DDIM CFG++", "", "ddim_cfgpp", "automatic"),
        ("k_euler_a_karras", "", "euler_ancestral", "karras"),
    ],
)
def test_two_names_in_one(text: str, schedule: str, sampler: str, chosen: str) -> None:
    assert [row.id for row in CATALOG.sampler_and_schedule(text, schedule)] == [sampler, chosen]


@pytest.mark.parametrize(("text", "schedule"), [("Nonsense Karras", ""), ("", ""), ("Karras", ""), ("Euler", "Nonsense")])
def test_what_is_not_there_is_named(text: str, schedule: str) -> None:
    with pytest.raises(InvalidRequest, match="There is no"):
        CATALOG.sampler_and_schedule(text, schedule)
