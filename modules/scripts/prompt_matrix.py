"""Prompt matrix: which parts of a prompt do what? A picture for every choice of the parts behind `|`, on one sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.domain.checks import check
from modules.domain.requests import GenerationRequest
from modules.imaging.legend import Label, legend_sheet, too_large
from modules.scripts.script import Control, Environment, Outcome, Results, Script, Steps, composite, fixed_seeds

MAX_PARTS = 10
"""Parts that may be there or not: each doubles the pictures."""

NAME = "Prompt matrix"


def combinations(prompt: str, *, at_start: bool, delimiter: str) -> list[str]:
    """The prompt with every choice of its optional parts; the n-th has the i-th part where the i-th bit of n is set."""
    fixed, *optional = (part.strip().strip(",").strip() if index else part.strip() for index, part in enumerate(prompt.split("|")))
    found: list[str] = []
    for number in range(2 ** len(optional)):
        chosen = [part for index, part in enumerate(optional) if number & (1 << index)]
        parts = [*chosen, fixed] if at_start else [fixed, *chosen]
        found.append(delimiter.join(part for part in parts if part))
    return found


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """One picture each, and the sheet. Raises `InvalidRequest` for more than `MAX_PARTS` parts."""
    field = "negative_prompt" if values["prompt_type"] == "negative" else "prompt"
    text = str(getattr(request, field))
    optional = [part.strip().strip(",").strip() for part in text.split("|")[1:]]
    check(len(optional) <= MAX_PARTS, f"{NAME}: {len(optional)} parts would be {2 ** len(optional)} pictures; {MAX_PARTS} are the most.")
    base = replace(fixed_seeds(request, environment), batch_size=1, batch_count=1)
    delimiter = ", " if values["variations_delimiter"] == "comma" else " "
    prompts = combinations(text, at_start=values["put_at_start"], delimiter=delimiter)
    step = values["different_seeds"]
    cells = tuple(
        replace(base, **{field: prompt}, seed=replace(base.seed, value=base.seed.value + index * step))
        for index, prompt in enumerate(prompts)
    )
    results = yield cells
    return _outcome(results, optional, int(values["margin_size"]), environment)


def _outcome(results: Results, optional: list[str], margin: int, environment: Environment) -> Outcome:
    pictures = [result.picture for result in results]
    some = next((picture for picture in pictures if picture is not None), None)
    if some is None or len(results) < 2:
        return Outcome()
    if too_large(len(results), some.width, some.height):
        return Outcome(notes=(f"{NAME}: the sheet would be too large, so there are the single pictures only.",))
    across = (len(optional) + 1) // 2
    columns = [_labels(optional[:across], number) for number in range(1 << across)]
    rows = [_labels(optional[across:], number) for number in range(1 << (len(optional) - across))]
    opened = [None if picture is None else environment.open(picture) for picture in pictures]
    cells = [opened[start : start + len(columns)] for start in range(0, len(opened), len(columns))]
    return Outcome(composites=(composite(legend_sheet(cells, columns, rows, margin), results, {"Script": NAME}),))


def _labels(parts: list[str], number: int) -> list[Label]:
    return [Label(part, active=bool(number & (1 << index))) for index, part in enumerate(parts)]


SCRIPT = Script(
    name=NAME,
    run=run,
    info="Separate the parts that may be there or not with | : “a cat|in a hat|at night” gives four pictures.",
    controls=(
        Control(kind="checkbox", name="put_at_start", label="Put variable parts at start of prompt", default=False),
        Control(kind="checkbox", name="different_seeds", label="Use different seed for each picture", default=False),
        Control(kind="radio", name="prompt_type", label="Select prompt", default="positive", choices=("positive", "negative")),
        Control(kind="radio", name="variations_delimiter", label="Select joining char", default="comma", choices=("comma", "space")),
        Control(kind="slider", name="margin_size", label="Grid margins (px)", default=0, low=0, high=500, step=2),
    ),
)
