"""Dynamic prompts: what do the choices in a prompt give? A picture for each prompt that is drawn by chance, or for every one there is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

from modules.domain.checks import check
from modules.domain.errors import InvalidRequest
from modules.domain.requests import GenerationRequest
from modules.prompts.dynamic import ChoicesUnreadable, Lines, Template, drawn, every, parse
from modules.scripts.script import Control, Environment, Outcome, Script, Steps, fixed_seeds, grid_of

NAME = "Dynamic prompts"
RANDOM, ALL = "by chance", "every combination"


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """All pictures at once. Raises `InvalidRequest` for a prompt that can't be read, and for wildcards that are missing."""
    base = fixed_seeds(request, environment)
    one, most = replace(base, batch_size=1, batch_count=1), int(values["most"])
    try:
        texts = _texts(base, environment, most + 1 if values["mode"] == ALL else None)
    except ChoicesUnreadable as error:
        raise InvalidRequest(f"{NAME}: {error}") from error
    notes: tuple[str, ...] = ()
    if values["mode"] == ALL and len(texts) > most:
        texts, notes = texts[:most], (f"{NAME}: there are more combinations than the {most} that were drawn.",)
    step = not values["same_seed"]
    results = yield tuple(
        replace(_saying(one, said), seed=replace(base.seed, value=base.seed.value + index * step)) for index, said in enumerate(texts)
    )
    outcome = grid_of(NAME, results, environment, {"Template": request.prompt}) if values["make_grid"] else Outcome()
    return replace(outcome, notes=(*outcome.notes, *notes))


def _texts(base: GenerationRequest, environment: Environment, all_of: int | None) -> list[tuple[str, ...]]:
    """What each picture's texts say, as `_saying` takes them: the first `all_of` combinations, or by chance where it is None."""
    second = (base.hires.prompt, base.hires.negative_prompt) if base.hires else ()
    templates = [parse(text) for text in (base.prompt, base.negative_prompt, *second)]
    check(any(not isinstance(part, str) for template in templates for part in template), _NOTHING)
    lines = cache(environment.wildcards)  # read once, though every picture asks
    if all_of is not None:
        return list(islice(_combinations(templates, lines), all_of))
    # By the picture's own seed, so that a seed gives its prompt again.
    rngs = [random.Random(base.seed.value + index) for index in range(base.image_count)]
    return [tuple(drawn(template, rng, lines) for template in templates) for rng in rngs]


def _combinations(templates: Sequence[Template], lines: Lines) -> Iterator[tuple[str, ...]]:
    """Each text of the first template with all of the others', one after another: `itertools.product` would list them first."""
    if not templates:
        yield ()
        return
    for text in every(templates[0], lines):
        yield from ((text, *rest) for rest in _combinations(templates[1:], lines))


def _saying(request: GenerationRequest, texts: tuple[str, ...]) -> GenerationRequest:
    """The request with its prompt, its negative prompt and, where it has a second pass, that one's two."""
    prompt, negative, *second = texts
    hires = replace(request.hires, prompt=second[0], negative_prompt=second[1]) if request.hires else None
    return replace(request, prompt=prompt, negative_prompt=negative, hires=hires)


_NOTHING = f"{NAME}: there is no choice in the prompt. Write {{cat|dog}}, or __name__ for a line of wildcards/name.txt."


SCRIPT = Script(
    name=NAME,
    run=run,
    info="`{cat|dog}` is one of both, `{2$$red|green|blue}` two of them, `{3::cat|dog}` a cat in three of four, `__animals__` a line of "
    "wildcards/animals.txt. Batch count times batch size pictures are drawn, each of its own prompt.",
    controls=(
        Control(kind="radio", name="mode", label="Which prompts", default=RANDOM, choices=(RANDOM, ALL)),
        Control(kind="slider", name="most", label="At most (every combination)", default=100, low=1, high=1000, step=1),
        Control(kind="checkbox", name="same_seed", label="Use the same seed for every picture", default=False),
        Control(kind="checkbox", name="make_grid", label="Make a grid of them", default=True),
    ),
)
