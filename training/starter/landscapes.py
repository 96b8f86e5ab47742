"""The grounds that are more than a colour: grass, sea, snow, desert, night and sky, each a little different every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Colour = tuple[int, int, int]
PALE: Colour = (206, 230, 248)
BLUE: Colour = (120, 190, 240)


def landscape(rng: np.random.Generator, name: str, size: int) -> np.ndarray:
    """Return the named landscape as (size, size, 3) float32, 0 to 255. Raises KeyError for a name that is not in names.LANDSCAPES."""
    return np.clip(_DRAWN[name](rng, size), 0, 255).astype(np.float32)


def _vertical(size: int, top: Colour, bottom: Colour) -> np.ndarray:
    share = np.linspace(0, 1, size)[:, None, None]
    return np.broadcast_to((1 - share) * np.array(top) + share * np.array(bottom), (size, size, 3)).copy()


def _two_parts(rng: np.random.Generator, size: int, sky: tuple[Colour, Colour], land: tuple[Colour, Colour], hills: float) -> np.ndarray:
    """A sky over a land whose horizon is a wave of `hills` of the picture's height."""
    picture = _vertical(size, *sky)
    below = _vertical(size, *land)
    x = np.arange(size) / size
    wave = np.sin(2 * np.pi * (float(rng.uniform(0.7, 1.6)) * x + float(rng.random())))
    horizon = (float(rng.uniform(0.5, 0.6)) + hills * wave) * size
    cover = np.clip(np.arange(size)[:, None] - horizon[None] + 0.5, 0, 1)[..., None]
    return picture * (1 - cover) + below * cover


def _grass(rng: np.random.Generator, size: int) -> np.ndarray:
    return _two_parts(rng, size, (BLUE, PALE), ((120, 196, 84), (70, 150, 56)), 0.03)


def _snow(rng: np.random.Generator, size: int) -> np.ndarray:
    picture = _two_parts(rng, size, ((150, 178, 206), (196, 212, 228)), ((250, 252, 255), (228, 236, 246)), 0.04)
    return _dots(rng, picture, count=14, radius=0.014, colour=(255, 255, 255))


def _desert(rng: np.random.Generator, size: int) -> np.ndarray:
    return _two_parts(rng, size, ((250, 206, 130), (252, 228, 176)), ((226, 180, 104), (206, 152, 82)), 0.05)


def _sea(rng: np.random.Generator, size: int) -> np.ndarray:
    picture = _two_parts(rng, size, (PALE, (236, 244, 250)), ((34, 116, 186), (22, 78, 150)), 0.0)
    for y in rng.uniform(0.66, 0.97, 4):
        line = ((float(y) + 0.008 * np.sin(2 * np.pi * (6 * np.arange(size) / size + float(rng.random())))) * size).astype(int)
        picture[np.clip(line, 0, size - 1), np.arange(size)] = (126, 186, 228)
    return picture


def _night(rng: np.random.Generator, size: int) -> np.ndarray:
    picture = _two_parts(rng, size, ((10, 14, 50), (36, 42, 98)), ((16, 26, 40), (8, 14, 24)), 0.03)
    return _dots(rng, picture, count=12, radius=0.009, colour=(255, 250, 214), lowest=0.5)


def _sky(rng: np.random.Generator, size: int) -> np.ndarray:
    picture = _vertical(size, (70, 150, 226), (186, 222, 250))
    for _ in range(3):
        x, y, scale = float(rng.random()), float(rng.uniform(0.08, 0.92)), float(rng.uniform(0.07, 0.1))
        for dx, dy, share in ((-0.9, 0.1, 0.7), (0.0, -0.2, 1.0), (0.9, 0.1, 0.75)):
            picture = _disc(picture, x + dx * scale, y + dy * scale, share * scale, (248, 251, 255))
    return picture


def _disc(picture: np.ndarray, x: float, y: float, radius: float, colour: Colour) -> np.ndarray:
    """The picture with a soft-edged disc; centre and radius are shares of its side."""
    size = len(picture)
    places = (np.arange(size) + 0.5) / size
    distance = np.hypot(places[None] - x, places[:, None] - y)
    cover = np.clip((radius - distance) * size + 0.5, 0, 1)[..., None]
    return picture * (1 - cover) + np.array(colour) * cover


def _dots(rng: np.random.Generator, picture: np.ndarray, *, count: int, radius: float, colour: Colour, lowest: float = 1.0) -> np.ndarray:
    for x, y in rng.random((count, 2)):
        picture = _disc(picture, float(x), float(y) * lowest, radius, colour)
    return picture


_DRAWN: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "grass": _grass,
    "sea": _sea,
    "snow": _snow,
    "desert": _desert,
    "night": _night,
    "sky": _sky,
}
