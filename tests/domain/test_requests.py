"""What a request refuses by itself, whoever makes it."""

from __future__ import annotations

import pytest

from modules.domain.errors import InvalidRequest
from modules.domain.requests import GenerationRequest, HiresPass


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_half_of_a_character_is_refused_where_it_stands(field: str) -> None:
    for kind, name in ((GenerationRequest, field.replace("_", " ")), (HiresPass, f"Hires {field.replace('_', ' ')}")):
        with pytest.raises(InvalidRequest, match=f"{name} holds half of a character, at position 3"):
            kind(**{field: "a \ud83d"})
        assert getattr(kind(**{field: "a \U0001f34e"}), field)


@pytest.mark.parametrize("steps", [0, 1001, 10**400, float("nan"), float("inf")])
def test_numbers_out_of_range_are_refused_however_long_they_are(steps: int) -> None:
    with pytest.raises(InvalidRequest, match="Sampling steps must be from 1 to 1000, not"):
        GenerationRequest(steps=steps)
