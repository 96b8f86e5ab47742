"""What can a training picture show, and how is it said? One object, some of a kind, or two in places; on a colour or in a landscape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.starter.config import DataConfig
from training.starter.names import COLOURS, COMMON, LANDSCAPES, NAMES, plural
from training.starter.styles import STYLES, Style

NAME_LIST: tuple[str, ...] = tuple(NAMES)
COLOUR_LIST: tuple[str, ...] = tuple(COLOURS)
GROUND_LIST: tuple[str, ...] = (*COLOURS, *LANDSCAPES)
LAYOUTS: tuple[str, ...] = ("one", "two", "three", "beside", "above")
STYLE_LIST: tuple[str, ...] = tuple(STYLES)
ONE, TWO, THREE, BESIDE, ABOVE = range(len(LAYOUTS))
NOTHING = -1

WHITE = COLOUR_LIST.index("white")
WHITE_SHARE = 0.25  # of all plain backgrounds
WHITE_NAMED = 0.4  # how much rarer a white background is named than another one

PLAIN = ("a {n}", "{n}", "a {n}", "a photo of a {n}", "a picture of a {n}", "a drawing of a {n}", "the {n}")
WITH_BACKGROUND = (
    "a {n} on a {c} background",
    "{n} on a {c} background",
    "{n}, {c} background",
    "a {n}, {c} background",
    "a picture of a {n} on a {c} background",
    "a drawing of a {n} on a {c} background",
    "a photo of a {n} on a {c} background",
    "a {n} on {c}",
)
ON_COLOUR = (" on a {c} background", ", {c} background", " on {c}")
# As one reads: what is named first is on the left. Where anything could be anywhere, the objects came out as mixtures of both.
TOGETHER = ("a {a} and a {b}", "a {a} and a {b}", "{a} and {b}", "a {a} with a {b}", "a picture of a {a} and a {b}", "a {a} next to a {b}")
LEFT_OF = (
    "a {a} left of a {b}",
    "a {a} to the left of a {b}",
    "a {b} right of a {a}",
    "a {b} to the right of a {a}",
    "a {a} on the left and a {b} on the right",
    "a {b} on the right and a {a} on the left",
)
ON_TOP = (
    "a {a} above a {b}",
    "a {b} below a {a}",
    "a {b} under a {a}",
    "a {a} on top of a {b}",
    "a {a} at the top and a {b} at the bottom",
)
PLAINLY = 0.5  # share of captions of two side by side that don't say where they are
COUNTED = ("{k} {n}", "{k} {n}", "a picture of {k} {n}")
EVERY_FORM = (*PLAIN, *WITH_BACKGROUND, *ON_COLOUR, *TOGETHER, *LEFT_OF, *ON_TOP, *COUNTED)


@dataclass(frozen=True)
class Scene:
    """What a picture shows: indices into NAME_LIST, GROUND_LIST, LAYOUTS and STYLE_LIST.

    `other` is the object on the right of `name` (beside) or below it (above), else NOTHING; so is the style of an ordinary picture.
    """

    name: int
    ground: int
    layout: int = ONE
    other: int = NOTHING
    style: int = NOTHING

    def row(self) -> tuple[int, int, int, int, int]:
        """The scene as numbers, for a cache."""
        return (self.name, self.ground, self.layout, self.other, self.style)


@dataclass(frozen=True)
class Said:
    """What a caption tells of its scene: as in `Scene`, each NOTHING where it is not told.

    Two that are named together are side by side, the first one on the left.
    """

    name: int = NOTHING
    ground: int = NOTHING
    layout: int = NOTHING
    other: int = NOTHING
    style: int = NOTHING


def taught(data: DataConfig) -> list[int]:
    """Return the indices of the names that are taught, into NAME_LIST."""
    return sorted(NAME_LIST.index(name) for name in (COMMON if data.common_names else NAME_LIST))


def draw_scene(rng: np.random.Generator, names: list[int] | None = None) -> Scene:
    """Pick one of `names` (of all of them when None) and a plain background, white more often than the others."""
    name = int(rng.integers(len(NAME_LIST))) if names is None else names[int(rng.integers(len(names)))]
    return Scene(name, _plain_ground(rng))


def draw_composition(rng: np.random.Generator, data: DataConfig, names: list[int] | None = None) -> Scene:
    """Pick a scene of any kind, in the shares that `data` gives them."""
    scene = _draw_arrangement(rng, data, names)
    if data.styled and rng.random() < data.styled:  # without styles the same scenes are drawn as before there were any
        return replace(scene, style=int(rng.integers(len(STYLE_LIST))))
    return scene


def _draw_arrangement(rng: np.random.Generator, data: DataConfig, names: list[int] | None) -> Scene:
    """Pick objects, places and ground."""
    scene = draw_scene(rng, names)
    ground = scene.ground
    if rng.random() < data.landscapes:
        ground = len(COLOUR_LIST) + int(rng.integers(len(LANDSCAPES)))
    kind = rng.random()
    if kind < data.pairs:
        other = draw_scene(rng, names).name
        while other == scene.name:
            other = draw_scene(rng, names).name
        return Scene(scene.name, ground, BESIDE if rng.random() < data.beside else ABOVE, other)
    if kind < data.pairs + data.counted:
        return Scene(scene.name, ground, TWO if rng.random() < 0.5 else THREE)
    return Scene(scene.name, ground)


def _plain_ground(rng: np.random.Generator) -> int:
    return WHITE if rng.random() < WHITE_SHARE else int(rng.integers(len(COLOUR_LIST)))


def caption(rng: np.random.Generator, data: DataConfig, scene: Scene) -> str:
    """Say a scene in words, or say nothing in a share of the cases."""
    return told(rng, data, scene)[0]


def told(rng: np.random.Generator, data: DataConfig, scene: Scene) -> tuple[str, Said]:
    """Say a scene in words, and say what the words tell of it."""
    if rng.random() < data.empty_caption:
        return "", Said()
    text, said = _content(rng, data, scene)
    if scene.style != NOTHING:
        text = _in_style(rng, text, STYLES[STYLE_LIST[scene.style]])
    return with_article(text), replace(said, style=scene.style)


def _in_style(rng: np.random.Generator, text: str, style: Style) -> str:
    """Say the style too; always, as an ordinary picture is what saying nothing means."""
    if rng.random() < 0.5 and " of " not in text:
        return f"{_pick(rng, style.before)} {text}"
    return f"{text}, {_pick(rng, style.after)}"


def _content(rng: np.random.Generator, data: DataConfig, scene: Scene) -> tuple[str, Said]:
    """Say objects and ground."""
    landscape = scene.ground >= len(COLOUR_LIST)
    share = 0.9 if landscape else data.named_background * (WHITE_NAMED if scene.ground == WHITE else 1.25)
    ground = scene.ground if rng.random() < share else NOTHING
    if scene.layout == ONE and not landscape:
        text = _pick(rng, PLAIN if ground == NOTHING else WITH_BACKGROUND)
        return text.format(n=NAME_LIST[scene.name], c=COLOUR_LIST[scene.ground]), Said(scene.name, ground, ONE)
    text, said = _objects(rng, scene)
    if ground != NOTHING:
        text += LANDSCAPES[GROUND_LIST[ground]] if landscape else _pick(rng, ON_COLOUR).format(c=GROUND_LIST[ground])
    return text, Said(said.name, ground, said.layout, said.other)


def _objects(rng: np.random.Generator, scene: Scene) -> tuple[str, Said]:
    """Say the objects of a scene, not its ground."""
    name = NAME_LIST[scene.name]
    if scene.layout == ONE:
        return _pick(rng, PLAIN).format(n=name), Said(scene.name, layout=ONE)
    if scene.layout in (TWO, THREE):
        return _pick(rng, COUNTED).format(k=LAYOUTS[scene.layout], n=plural(name)), Said(scene.name, layout=scene.layout)
    placed = LEFT_OF if scene.layout == BESIDE else ON_TOP
    text = _pick(rng, placed).format(a=name, b=NAME_LIST[scene.other])
    if scene.layout == BESIDE and rng.random() < PLAINLY:
        text = _pick(rng, TOGETHER).format(a=name, b=NAME_LIST[scene.other])
    return text, Said(scene.name, layout=scene.layout, other=scene.other)


def _pick(rng: np.random.Generator, forms: tuple[str, ...]) -> str:
    return forms[int(rng.integers(len(forms)))]


def with_article(text: str) -> str:
    """Turn "a apple" into "an apple"."""
    words = text.split(" ")
    for i in range(len(words) - 1):
        if words[i] == "a" and words[i + 1][0] in "aeiou" and words[i + 1] != "unicorn":
            words[i] = "an"
    return " ".join(words)
