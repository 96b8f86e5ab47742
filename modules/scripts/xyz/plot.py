"""X/Y/Z plot: what does a change of one thing do, of another, of a third? A picture for every combination, on sheets with legends."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from PIL import Image

from modules.domain.checks import check
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.requests import GenerationRequest
from modules.imaging.grid import grid_rows, image_grid
from modules.imaging.legend import Label, legend_sheet, too_large
from modules.scripts.script import (
    RANDOM_SEEDS,
    Composite,
    Control,
    Environment,
    Outcome,
    Result,
    Script,
    Sheet,
    Steps,
    composite,
    fixed_seeds,
)
from modules.scripts.xyz.apply import Lookup
from modules.scripts.xyz.axes import NOTHING, Axis, find_axis
from modules.scripts.xyz.ranges import join_values, split_values

NAME = "X/Y/Z plot"
LETTERS = ("x", "y", "z")
_NO_GRID = {"grid_save": False, "return_grid": False}
_SEEDS = ("Seed", "Var. seed")


@dataclass(frozen=True, slots=True)
class Chosen:
    """An axis with its values: `text` is what was typed or chosen."""

    letter: str
    axis: Axis
    values: tuple[Any, ...]
    text: str

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.axis.label(value) for value in self.values)


def chosen_axes(values: Mapping[str, Any], tab: str, environment: Environment, *, fix: bool) -> tuple[Chosen, ...]:
    """The three axes, x first. Raises `InvalidRequest` with the axis in the sentence."""
    return tuple(_chosen(letter, values, tab, environment, fix=fix) for letter in LETTERS)


def cells_of(
    request: GenerationRequest, axes: Sequence[Chosen], values: Mapping[str, Any], environment: Environment
) -> list[GenerationRequest]:
    """One request for every combination, x the quickest and z the slowest to change. Raises `InvalidRequest` with axis and value."""
    x, y, z = axes
    cells: list[GenerationRequest] = []
    for iz, iy, ix in product(*(range(len(axis.values)) for axis in (z, y, x))):
        places = {"x": ix, "y": iy, "z": iz}
        cell = request
        for chosen in sorted(axes, key=lambda chosen: not chosen.axis.early):
            cell = _applied(cell, chosen, places[chosen.letter], environment)
        # behind the axes, one of which may be the seed
        cells.append(_moved_seed(cell, places, axes, values))
    for chosen in axes:
        useless = chosen.axis.name == "Refiner switch at" and not any(cell.refiner for cell in cells)
        check(not useless, f"{NAME}, {chosen.letter.upper()}: there is no refiner that could be switched to. Choose one first.")
    return cells


def run_order(axes: Sequence[Chosen]) -> list[int]:
    """The places of the cells (as `cells_of` gives them) in the order in which they are drawn: the dearest axis changes least."""
    sizes = [len(axis.values) for axis in axes]
    places = list(product(*(range(size) for size in reversed(sizes))))
    # Among equals z is the outermost, as in A1111.
    outer_first = sorted((2, 1, 0), key=lambda index: -axes[index].axis.cost)
    return sorted(range(len(places)), key=lambda cell: tuple(places[cell][2 - index] for index in outer_first))


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """All cells at once, and the sheets. Raises `InvalidRequest` for what can't be drawn."""
    tab = "img2img" if request.init is not None else "txt2img"
    fix = not values["no_fixed_seeds"]
    axes = chosen_axes(values, tab, environment, fix=fix)
    base = fixed_seeds(request, environment) if fix else request
    # a grid of each cell's own batch would only be in the way
    base = replace(base, overrides=(*(row for row in base.overrides if row[0] not in _NO_GRID), *_NO_GRID.items()))
    cells = cells_of(base, axes, values, environment)
    order = run_order(axes)
    answered = yield tuple(cells[place] for place in order)
    return _outcome(_back(answered, order), axes, values, environment)


def _back(answered: Sequence[Result], order: Sequence[int]) -> list[Result]:
    """The results in the cells' own order."""
    found = dict(zip(order, answered, strict=True))
    return [found[place] for place in range(len(order))]


def _chosen(letter: str, values: Mapping[str, Any], tab: str, environment: Environment, *, fix: bool) -> Chosen:
    try:
        axis = find_axis(str(values[f"{letter}_type"] or NOTHING), tab)
        if axis.kind == "nothing":
            return Chosen(letter, axis, ("",), "")
        listed = axis.choices is not None and not values["csv_mode"] and values[f"{letter}_values_dropdown"]
        typed = str(values[f"{letter}_values"])
        texts = [str(value) for value in values[f"{letter}_values_dropdown"]] if listed else split_values(typed, empty=axis.empty)
        check(bool(texts), f"{axis.name} has no values: type some, with commas between.")
        found = axis.values(texts)
    except InvalidRequest as error:
        raise InvalidRequest(f"{NAME}, {letter.upper()}: {error}") from error
    if axis.name in _SEEDS and fix:
        found = tuple(_drawn(value, f"{environment.entropy}-{letter}-{index}") for index, value in enumerate(found))
    return Chosen(letter, axis, found, join_values(texts) if listed else typed)


def _drawn(seed: int, key: str) -> int:
    """A seed of -1 as one that is drawn by its place alone, so that longer lists draw the same."""
    return seed if seed >= 0 else random.Random(key).randrange(RANDOM_SEEDS)


def _moved_seed(
    request: GenerationRequest, places: Mapping[str, int], axes: Sequence[Chosen], values: Mapping[str, Any]
) -> GenerationRequest:
    """With varied seeds each place along a varied axis has a seed of its own; it counts up from the request's. A random one stays so."""
    moved, stride = 0, 1
    for chosen in axes:
        if values[f"vary_seeds_{chosen.letter}"]:
            moved += places[chosen.letter] * stride
            stride *= len(chosen.values)
    return replace(request, seed=replace(request.seed, value=request.seed.value + moved)) if moved and request.seed.value >= 0 else request


def _applied(request: GenerationRequest, chosen: Chosen, place: int, environment: Environment) -> GenerationRequest:
    try:
        return chosen.axis.apply(request, chosen.values[place], Lookup(environment.catalog, environment.styles, chosen.values))
    except (InvalidRequest, ModelNotFound) as error:
        raise InvalidRequest(f"{NAME}, {chosen.letter.upper()}: {chosen.axis.name}: {error}") from error


def _outcome(results: list[Result], axes: Sequence[Chosen], values: Mapping[str, Any], environment: Environment) -> Outcome:
    pictures = [result.picture for result in results]
    sheet = Sheet(
        axes=tuple((chosen.axis.name, chosen.labels) for chosen in axes),
        cells=tuple(picture.id if picture else "" for picture in pictures),
    )
    lone = tuple(image.id for result in results for image in result.pictures) if values["include_lone_images"] else ()
    some = next((picture for picture in pictures if picture is not None), None)
    if some is None:
        return Outcome(sheet=sheet, shown=lone)
    each = max(sum(1 for _ in result.pictures) for result in results)
    if too_large(len(results) * each, some.width, some.height):
        note = f"{NAME}: a grid of {len(results)} pictures of {some.width}x{some.height} would be too large, so there is none."
        return Outcome(sheet=sheet, notes=(note,))
    return Outcome(composites=_sheets(results, axes, values, environment), sheet=sheet, shown=lone)


def _sheets(results: list[Result], axes: Sequence[Chosen], values: Mapping[str, Any], environment: Environment) -> tuple[Composite, ...]:
    x, y, z = axes
    across, each = len(x.values), len(x.values) * len(y.values)
    said = _said(axes, values)
    margin, legend = int(values["margin_size"]), bool(values["draw_legend"])
    made: list[tuple[int, Image.Image, list[Result]]] = []
    for place in range(len(z.values)):
        part = results[place * each : (place + 1) * each]
        if not any(result.pictures for result in part):
            continue
        opened = [_cell(result, environment) for result in part]
        rows = [opened[start : start + across] for start in range(0, each, across)]
        columns, beside = (_legend(x), _legend(y)) if legend else ([], [])
        made.append((place, legend_sheet(rows, columns, beside, margin), part))
    if len(z.values) == 1:
        return (composite(made[0][1], results, said),)
    whole = legend_sheet([[picture for _, picture, _ in made]], [_legend(z)[place] for place, _, _ in made] if legend else [], [], margin)
    parts = [composite(picture, part, said, "Sub grid") for _, picture, part in made] if values["include_sub_grids"] else []
    return (composite(whole, results, said), *parts)


def _cell(result: Result, environment: Environment) -> Image.Image | None:
    """A cell's picture; a whole batch stands in it as a grid of its own."""
    pictures = [environment.open(picture) for picture in result.pictures]
    return image_grid(pictures, grid_rows(len(pictures), -1, 1)) if pictures else None


def _legend(chosen: Chosen) -> list[list[Label]]:
    return [[Label(text)] for text in chosen.labels]


def _said(axes: Sequence[Chosen], values: Mapping[str, Any]) -> dict[str, object]:
    """A1111's fields of the grid's infotext."""
    said: dict[str, object] = {"Script": NAME}
    for chosen in axes:
        if chosen.axis.kind == "nothing":
            continue
        said[f"{chosen.letter.upper()} Type"] = chosen.axis.name
        said[f"{chosen.letter.upper()} Values"] = chosen.text
        if chosen.axis.name in _SEEDS and not values["no_fixed_seeds"]:
            said[f"Fixed {chosen.letter.upper()} Values"] = ", ".join(map(str, chosen.values))
    return said


def _axis_controls() -> tuple[Control, ...]:
    made: list[Control] = []
    for letter, default in zip(LETTERS, ("Seed", NOTHING, NOTHING), strict=True):
        name = letter.upper()
        made += [
            Control(kind="dropdown", name=f"{letter}_type", label=f"{name} type", default=default, choices=("<axes>",), index=True),
            Control(kind="text", name=f"{letter}_values", label=f"{name} values", default=""),
            Control(
                kind="dropdown",
                name=f"{letter}_values_dropdown",
                label=f"{name} values",
                default=(),
                choices=("<axis values>",),
                multiple=True,
                shown=False,
            ),
        ]
    return tuple(made)


SCRIPT = Script(
    name=NAME,
    run=run,
    info="Values with commas between; ranges: 1-5, 1-10 (+2), 10-5 (-3), 0-1 [5]. Prompt S/R replaces its first value by each of them.",
    controls=(
        *_axis_controls(),
        Control(kind="checkbox", name="draw_legend", label="Draw legend", default=True),
        Control(kind="checkbox", name="include_lone_images", label="Include Sub Images", default=False),
        Control(kind="checkbox", name="include_sub_grids", label="Include Sub Grids", default=False),
        Control(kind="checkbox", name="no_fixed_seeds", label="Keep -1 for seeds", default=False),
        Control(kind="checkbox", name="vary_seeds_x", label="Vary seeds for X", default=False),
        Control(kind="checkbox", name="vary_seeds_y", label="Vary seeds for Y", default=False),
        Control(kind="checkbox", name="vary_seeds_z", label="Vary seeds for Z", default=False),
        Control(kind="slider", name="margin_size", label="Grid margins (px)", default=0, low=0, high=500, step=2),
        Control(kind="checkbox", name="csv_mode", label="Use text inputs instead of dropdowns", default=False),
    ),
)
