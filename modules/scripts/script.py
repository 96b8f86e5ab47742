"""What is a script? A function of its jobs' results that can be played again, and the controls that it is set with.

A script yields steps (requests that may be drawn in any order), is sent what became of them, and ends with an outcome. It is told nothing
else that changes and draws its random numbers from the run's entropy: played again with the same results it asks the same. So a run needs
no memory of its own; see docs/adr/0007-scripts-are-replayed.md. Knows neither the queue nor the page.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from modules.domain.catalog import Catalog
from modules.domain.jobs import JobRequest
from modules.domain.requests import GenerationRequest
from modules.domain.results import SavedImage
from modules.domain.styles import Style
from modules.imaging.grid import grid_rows, image_grid
from modules.imaging.infotext import format_infotext, parse_infotext
from modules.imaging.legend import too_large

RANDOM_SEEDS = 4_294_967_294
"""Random seeds are drawn from 0 to just below this, as for a job without a script."""

ControlKind = Literal["checkbox", "checkboxes", "number", "slider", "text", "dropdown", "radio", "unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One value that a script is set with: what the page makes a component of and the API an argument. `name` is A1111's `elem_id` of it.

    A dropdown that is `multiple` holds a list; one that is an `index` may be given as the position of its choice, as A1111's clients do.
    One that is `unused` only keeps its place among the arguments by position. Choices in angle brackets (`<upscalers>`) stand for what
    the catalogue holds.
    """

    kind: ControlKind
    name: str
    label: str
    default: Any
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    index: bool = False
    lines: int = 1
    info: str = ""
    shown: bool = True
    """Whether the page shows it before anything is chosen."""


Opener = Callable[[SavedImage], Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one request. `pictures` are its saved ones, grids and masks not among them; empty where it failed or was stopped."""

    request: JobRequest
    state: str
    pictures: tuple[SavedImage, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    """What the job says was done differently."""
    frames: tuple[SavedImage, ...] = ()
    """The first picture on its way, in the order of the steps, where the request asks for a film."""

    @property
    def picture(self) -> SavedImage | None:
        """The first picture, or None."""
        return self.pictures[0] if self.pictures else None


Step = tuple[JobRequest, ...]
Results = tuple[Result, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A picture that a script made of others. `seed` is for its name, `label` for whoever looks at several of them."""

    image: Image.Image
    infotext: str
    seed: int
    label: str = "Grid"
    animated: tuple[Image.Image, ...] = ()
    """All pictures of an animation, of which `image` is the first; `duration` is milliseconds for each."""
    duration: int = 200
    animation_format: str = "webp"
    kind: str = "grid"
    """`grid`, or `image` for one that is a result like any other: it goes where single pictures go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Where each picture of a sweep stands: x, y and z with their values' labels, and picture ids, x the quickest ("" for none)."""

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a script ends: what it made, and sentences for the user."""

    composites: tuple[Composite, ...] = ()
    notes: tuple[str, ...] = ()
    sheet: Sheet | None = None
    shown: tuple[str, ...] | None = None
    """The ids of the single pictures that belong into the result beside the composites, in order; None is all of them."""


Steps = Generator[Step, Results, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a script may look at. `open` reads a saved picture, `open_input` a start picture by id, `keep` makes a start picture of one.

    `keep` gives the same id for the same picture, so a script that is played again asks the same.
    """

    catalog: Catalog
    entropy: int
    open: Opener
    open_input: Callable[[str], Image.Image]
    keep: Callable[[Image.Image], str]
    wildcards: Callable[[str], Sequence[str]]
    """The lines of a wildcard. Raises `InvalidRequest` where there is none."""
    styles: tuple[Style, ...] = ()

    def random(self) -> random.Random:
        """The generator of the run's random numbers, always at its beginning."""
        return random.Random(self.entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A1111's `name`, the tabs it is for, its `controls` in A1111's order, and what it does."""

    name: str
    controls: tuple[Control, ...]
    run: Callable[[GenerationRequest, Mapping[str, Any], Environment], Steps]
    txt2img: bool = True
    img2img: bool = True
    info: str = ""
    count: Callable[[GenerationRequest, Mapping[str, Any]], int] | None = None
    """How many jobs it will ask for, where that is more than its first step says."""

    def fits(self, tab: str) -> bool:
        """Whether it is for the tab txt2img or img2img."""
        return self.img2img if tab == "img2img" else self.txt2img

    @property
    def slug(self) -> str:
        """The name as it stands in ids."""
        return re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.name.lower()))

    def elem_id(self, name: str, tab: str) -> str:
        """A1111's elem_id of a control: it names the tab only where the script is on both."""
        return f"script_{f'{tab}_' if self.txt2img and self.img2img else ''}{self.slug}_{name}"


def fixed_seeds(request: GenerationRequest, environment: Environment) -> GenerationRequest:
    """The request with its random seeds drawn, so that all of a run's pictures share them."""
    rng = environment.random()
    seed, variation = rng.randrange(RANDOM_SEEDS), rng.randrange(RANDOM_SEEDS)
    own = request.seed
    drawn = replace(
        own,
        value=own.value if own.value >= 0 else seed,
        variation=own.variation if own.variation >= 0 else variation,
    )
    return replace(request, seed=drawn)


def composite(
    image: Image.Image, results: Sequence[Result], said: Mapping[str, object], label: str = "Grid", kind: str = "grid"
) -> Composite:
    """A composite whose infotext is the first picture's with the fields `said` at its end. Needs one result with a picture."""
    first = next(result.pictures[0] for result in results if result.pictures)
    return Composite(image=image, infotext=with_fields(first.infotext, said), seed=first.seed, label=label, kind=kind)


def grid_of(name: str, results: Sequence[Result], environment: Environment, said: Mapping[str, object], label: str = "Grid") -> Outcome:
    """All single pictures on one near-square sheet; none of fewer than two, or with a note where it would be too large."""
    pictures = [picture for result in results for picture in result.pictures]
    if len(pictures) < 2:
        return Outcome()
    if too_large(len(pictures), max(picture.width for picture in pictures), max(picture.height for picture in pictures)):
        return Outcome(notes=(f"{name}: the {label.lower()} picture would be too large, so there is none.",))
    sheet = image_grid([environment.open(picture) for picture in pictures], grid_rows(len(pictures), -1, 1))
    return Outcome(composites=(composite(sheet, results, {"Script": name, **said}, label),))


def with_fields(infotext: str, said: Mapping[str, object]) -> str:
    """The infotext with more fields, which win over those of the same name."""
    found = parse_infotext(infotext, defaults=False)
    prompt, negative = found.pop("Prompt", ""), found.pop("Negative prompt", "")
    fields: dict[str, object] = {}
    for key, value in found.items():
        if key.endswith("-1") and f"{key[:-2]}-2" in found:
            fields[key[:-2]] = f"{value}x{found[f'{key[:-2]}-2']}"
        elif not (key.endswith("-2") and f"{key[:-2]}-1" in found):
            fields[key] = value
    return format_infotext(prompt, negative, {**fields, **{key: value for key, value in said.items() if value not in (None, "")}}.items())
