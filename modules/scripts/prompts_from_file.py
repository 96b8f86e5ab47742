"""Prompts from file or textbox: what does a whole list of prompts give? One job a line, with the line's own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.domain.checks import check
from modules.domain.requests import GenerationRequest
from modules.scripts.prompt_lines import applied, read_lines
from modules.scripts.script import RANDOM_SEEDS, Control, Environment, Outcome, Script, Steps, grid_of

NAME = "Prompts from file or textbox"


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """All lines at once. Raises `InvalidRequest` for a list without a line, and with the number of a line that can't be done."""
    lines = read_lines(str(values["prompt_txt"]))
    check(bool(lines), f"{NAME}: the list is empty. Type a prompt a line, or choose a file.")
    iterate, same = values["checkbox_iterate"], values["checkbox_iterate_batch"]
    seed = request.seed
    if (iterate or same) and seed.value < 0:
        seed = replace(seed, value=environment.random().randrange(RANDOM_SEEDS))
    # A grid of each line's own batch would be one among the many.
    base = replace(request, overrides=(*(row for row in request.overrides if row[0] not in _NO_GRID), *_NO_GRID.items()))
    asked: list[GenerationRequest] = []
    for line in lines:
        wanted = applied(
            line, replace(base, seed=seed), environment.catalog, environment.styles, at_start=values["prompt_position"] == "start"
        )
        asked.append(wanted)
        if iterate:
            seed = replace(seed, value=seed.value + request.image_count)
    results = yield tuple(asked)
    return grid_of(NAME, results, environment, {}, "Combined") if values["make_combined"] else Outcome()


_NO_GRID = {"grid_save": False, "return_grid": False}


SCRIPT = Script(
    name=NAME,
    run=run,
    info="A prompt a line; a line may set more: --prompt “a cat” --steps 20 --sampler_name “Euler a” --width 640.",
    controls=(
        Control(kind="checkbox", name="checkbox_iterate", label="Iterate seed every line", default=False),
        Control(kind="checkbox", name="checkbox_iterate_batch", label="Use same random seed for all lines", default=False),
        Control(kind="radio", name="prompt_position", label="Insert prompts at the", default="start", choices=("start", "end")),
        Control(kind="text", name="prompt_txt", label="List of prompt inputs", default="", lines=4),
        Control(
            kind="checkbox",
            name="make_combined",
            label="Make a combined image containing all outputs (if more than one)",
            default=False,
        ),
    ),
)
