"""Draws scenes as training pictures: emoji of an openly licensed font on a named colour or in a simple landscape."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.starter.config import FONT_PATHS, DataConfig
from training.starter.landscapes import landscape
from training.starter.names import COLOURS, LANDSCAPES, NAMES
from training.starter.scenes import ABOVE, BESIDE, GROUND_LIST, NAME_LIST, NOTHING, ONE, STYLE_LIST, THREE, TWO, Scene, draw_composition
from training.starter.styles import STYLES

BITMAP_SIZE = 109  # the one size at which Noto Color Emoji carries bitmaps
PAIR_SIZES = (0.42, 0.46, 0.5)  # widths of one of two objects, as shares of the picture's
THREE_SIZES = (0.3, 0.33)
IN_LANDSCAPE = (0.55, 0.65, 0.75)  # of a single object
PLACES: dict[int, tuple[tuple[float, float], ...]] = {  # centres (x, y) of a layout's objects
    ONE: ((0.5, 0.5),),
    TWO: ((0.27, 0.5), (0.73, 0.5)),
    BESIDE: ((0.27, 0.5), (0.73, 0.5)),
    ABOVE: ((0.5, 0.27), (0.5, 0.73)),
    THREE: ((0.18, 0.5), (0.5, 0.5), (0.82, 0.5)),
}


def font_path() -> Path:
    """Return where this machine keeps Noto Color Emoji."""
    for path in FONT_PATHS:
        if path.is_file():
            return path
    raise FileNotFoundError("Noto Color Emoji is not installed (Debian: fonts-noto-color-emoji)")


def font_digest() -> str:
    """Return the font file's SHA-256, which says what the pictures were drawn from."""
    return hashlib.sha256(font_path().read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path()), BITMAP_SIZE)


def glyph(code_point: int) -> Image.Image:
    """Draw one code point as a tight, square RGBA picture."""
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((8, 8), chr(code_point), font=_font(), embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font draws nothing for U+{code_point:04X}")
    tight = canvas.crop(box)
    side = max(tight.size)
    side += side // 12  # room to turn in
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(tight, ((side - tight.width) // 2, (side - tight.height) // 2))
    return square


class Sprites:
    """Every name at every size and angle, as premultiplied float32 RGBA of shape (s, s, 4), drawn when first asked."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self._glyphs: dict[int, Image.Image] = {}
        self._drawn: dict[tuple[int, int, int], np.ndarray] = {}

    def get(self, name: int, size: int, angle: int) -> np.ndarray:
        """Return the sprite of a name; the caller must not write to it."""
        key = (name, size, angle)
        if key not in self._drawn:
            if name not in self._glyphs:
                self._glyphs[name] = glyph(NAMES[NAME_LIST[name]])
            turned = self._glyphs[name].rotate(angle, Image.Resampling.BICUBIC)
            self._drawn[key] = _premultiplied(turned.resize((size, size), Image.Resampling.LANCZOS))
        return self._drawn[key].astype(np.float32)


def _premultiplied(picture: Image.Image) -> np.ndarray:
    """Return uint8 RGBA with the colours multiplied by alpha."""
    pixels = np.asarray(picture, dtype=np.float32).copy()
    pixels[..., :3] *= pixels[..., 3:] / 255.0
    return pixels.round().astype(np.uint8)


def background(rng: np.random.Generator, data: DataConfig, colour: str, shape: tuple[int, int]) -> np.ndarray:
    """Return a (h, w, 3) float32 background near the named colour, 0 to 255."""
    base = np.array(COLOURS[colour], dtype=np.float32)
    base = base + rng.uniform(-data.colour_jitter, data.colour_jitter, 3).astype(np.float32)
    picture = np.broadcast_to(base, (*shape, 3)).copy()
    if rng.random() < data.gradient:
        slope = float(rng.uniform(-14, 14))
        picture += np.linspace(-slope, slope, shape[0], dtype=np.float32)[:, None, None]
    return np.clip(picture, 0, 255)


def ground(rng: np.random.Generator, data: DataConfig, index: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a (h, w, 3) float32 ground, 0 to 255: a plain one, or the middle of a landscape."""
    name = GROUND_LIST[index]
    if name not in LANDSCAPES:
        return background(rng, data, name, shape)
    side = max(shape)
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    return landscape(rng, name, side)[top : top + shape[0], left : left + shape[1]].copy()


def compose(rng: np.random.Generator, sprites: Sprites, scene: Scene, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Draw a scene as a (h, w, 3) uint8 picture; sizes, places, angles and mirroring come from `rng`.

    `shape` is its (h, w), square of the native size when None.  Objects are as large as the shorter side makes them.
    """
    data = sprites.data
    height, wide = shape or (data.size, data.size)
    picture = ground(rng, data, scene.ground, (height, wide))
    scale = min(height, wide) / data.size
    width = round(_width(rng, data, scene) * scale)
    shown = (scene.name, scene.other) if scene.layout in (BESIDE, ABOVE) else (scene.name,) * len(PLACES[scene.layout])
    for name, (x, y) in zip(shown, PLACES[scene.layout], strict=True):
        sprite = sprites.get(name, width, int(rng.choice(data.angles)))
        if rng.random() < data.flip:
            sprite = sprite[:, ::-1]
        left, top = (_corner(rng, data, centre, side, width) for centre, side in ((x, wide), (y, height)))
        spot = picture[top : top + width, left : left + width]
        spot *= 1.0 - sprite[..., 3:] / 255.0
        spot += sprite[..., :3]
    drawn = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return drawn if scene.style == NOTHING else STYLES[STYLE_LIST[scene.style]].apply(drawn)


def _width(rng: np.random.Generator, data: DataConfig, scene: Scene) -> int:
    """Return how wide each of a scene's objects is drawn in a picture of the native size, in pixels."""
    if scene.layout != ONE:
        return round(float(rng.choice(THREE_SIZES if scene.layout == THREE else PAIR_SIZES)) * data.size)
    if GROUND_LIST[scene.ground] in LANDSCAPES:
        return round(float(rng.choice(IN_LANDSCAPE)) * data.size)
    return int(rng.choice(data.object_sizes))


def _corner(rng: np.random.Generator, data: DataConfig, centre: float, side: int, width: int) -> int:
    """Return where an object begins along a side, in pixels: about `centre`, but within the picture."""
    reach = min(data.shift, (side - width) // 2)
    start = round(centre * side - width / 2) + int(rng.integers(-reach, reach + 1))
    return min(max(start, 0), side - width)


def batch(rng: np.random.Generator, sprites: Sprites, count: int, crop: int | None = None, names: list[int] | None = None) -> np.ndarray:
    """Return (count, 3, crop, crop) float32 pictures in -1..1: whole ones when `crop` is None, of every name when `names` is None."""
    size = sprites.data.size
    side = size if crop is None else crop
    out = np.empty((count, side, side, 3), dtype=np.uint8)
    for i in range(count):
        picture = compose(rng, sprites, draw_composition(rng, sprites.data, names))
        top, left = (int(rng.integers(0, size - side + 1)) for _ in range(2))
        out[i] = picture[top : top + side, left : left + side]
    return out.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0
