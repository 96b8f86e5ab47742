"""The prompt language says the same as in the program that users' prompts were written for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.prompts.chunks import chunk_prompt
from modules.prompts.grammar import parse_attention
from modules.prompts.schedule import prompt_schedule, split_and
from modules.prompts.tokenizer import clip_tokenizer

VECTORS = Path(__file__).parent.parent / "vectors"
PARSER: list[dict[str, Any]] = json.loads((VECTORS / "prompt_parser.json").read_text())["cases"]
CHUNKS: list[dict[str, Any]] = json.loads((VECTORS / "token_chunks.json").read_text())["cases"]


@pytest.mark.parametrize("case", PARSER, ids=lambda case: case["prompt"][:30])
def test_attention(case: dict[str, Any]) -> None:
    pieces = parse_attention(case["prompt"])
    if isinstance(case["attention"], list):
        assert [list(piece) for piece in pieces] == case["attention"]


@pytest.mark.parametrize("case", PARSER, ids=lambda case: case["prompt"][:30])
def test_timelines(case: dict[str, Any]) -> None:
    for key, arguments in {
        "schedules_steps20": (20,),
        "schedules_steps5": (5,),
        "schedules_steps20_hires10": (20, 10),
        "schedules_steps20_hires20": (20, 20),
        "schedules_steps20_old": (20, None, True),
        "schedules_steps20_hires10_old": (20, 10, True),
    }.items():
        assert [list(entry) for entry in prompt_schedule(case["prompt"], *arguments)] == case[key], key


@pytest.mark.parametrize("case", PARSER, ids=lambda case: case["prompt"][:30])
def test_composition(case: dict[str, Any]) -> None:
    parts = split_and(case["prompt"])
    assert [weight for _, weight in parts] == [weight for _, weight in case["multicond"]["indexes"]]
    assert [text for text, _ in parts] == [case["multicond"]["flat"][index] for index, _ in case["multicond"]["indexes"]]


@pytest.mark.parametrize("case", CHUNKS, ids=lambda case: f"{case['emphasis']}: {case['prompt'][:30]}")
def test_chunks(case: dict[str, Any]) -> None:
    chunks, count = chunk_prompt(case["prompt"], clip_tokenizer(), emphasis=case["emphasis"].lower())
    if "error" in case:
        return
    assert count == case["token_count"]
    assert [(list(chunk.tokens), list(chunk.multipliers)) for chunk in chunks] == [(c["tokens"], c["multipliers"]) for c in case["chunks"]]
