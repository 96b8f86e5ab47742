"""Composes training pictures: one emoji of an openly licensed font on a plain background, with its words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.starter.config import FONT_PATHS, DataConfig
from training.starter.names import COLOURS, COMMON, NAMES

BITMAP_SIZE = 109  # the one size at which Noto Color Emoji carries bitmaps
NAME_LIST: tuple[str, ...] = tuple(NAMES)
COLOUR_LIST: tuple[str, ...] = tuple(COLOURS)
WHITE = COLOUR_LIST.index("white")
WHITE_SHARE = 0.25  # of all backgrounds
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


@dataclass(frozen=True)
class Scene:
    """What a picture shows, as indices into NAME_LIST and COLOUR_LIST."""

    name: int
    colour: int


def font_path() -> Path:
    """Return where this machine keeps Noto Color Emoji."""
    for path in FONT_PATHS:
        if path.is_file():
            return path
    raise FileNotFoundError("Noto Color Emoji is not installed (Debian: fonts-noto-color-emoji)")


def font_digest() -> str:
    """Return the font file's SHA-256, which says what the pictures were drawn from."""
    return hashlib.sha256(font_path().read_bytes()).hexdigest()


def taught(data: DataConfig) -> list[int]:
    """Return the indices of the names that are taught, into NAME_LIST."""
    return sorted(NAME_LIST.index(name) for name in (COMMON if data.common_names else NAME_LIST))


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


def background(rng: np.random.Generator, data: DataConfig, colour: int) -> np.ndarray:
    """Return a (size, size, 3) float32 background near the named colour, 0 to 255."""
    base = np.array(COLOURS[COLOUR_LIST[colour]], dtype=np.float32)
    base = base + rng.uniform(-data.colour_jitter, data.colour_jitter, 3).astype(np.float32)
    picture = np.broadcast_to(base, (data.size, data.size, 3)).copy()
    if rng.random() < data.gradient:
        slope = float(rng.uniform(-14, 14))
        picture += np.linspace(-slope, slope, data.size, dtype=np.float32)[:, None, None]
    return np.clip(picture, 0, 255)


def draw_scene(rng: np.random.Generator, names: list[int] | None = None) -> Scene:
    """Pick evenly among `names` (all of them when None) and a background, white more often than the others."""
    name = int(rng.integers(len(NAME_LIST))) if names is None else names[int(rng.integers(len(names)))]
    colour = WHITE if rng.random() < WHITE_SHARE else int(rng.integers(len(COLOUR_LIST)))
    return Scene(name, colour)


def compose(rng: np.random.Generator, sprites: Sprites, scene: Scene) -> np.ndarray:
    """Draw a scene as a (size, size, 3) uint8 picture; size, place, angle and mirroring come from `rng`."""
    data = sprites.data
    size = int(rng.choice(data.object_sizes))
    sprite = sprites.get(scene.name, size, int(rng.choice(data.angles)))
    if rng.random() < data.flip:
        sprite = sprite[:, ::-1]
    picture = background(rng, data, scene.colour)
    room = (data.size - size) // 2
    reach = min(room, data.shift)
    top, left = (room + int(rng.integers(-reach, reach + 1)) for _ in range(2))
    spot = picture[top : top + size, left : left + size]
    spot *= 1.0 - sprite[..., 3:] / 255.0
    spot += sprite[..., :3]
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def caption(rng: np.random.Generator, data: DataConfig, scene: Scene) -> str:
    """Say a scene in words, or say nothing in a share of the cases."""
    if rng.random() < data.empty_caption:
        return ""
    named = data.named_background * (WHITE_NAMED if scene.colour == WHITE else 1.25)
    choices = WITH_BACKGROUND if rng.random() < named else PLAIN
    text = choices[int(rng.integers(len(choices)))].format(n=NAME_LIST[scene.name], c=COLOUR_LIST[scene.colour])
    return with_article(text)


def with_article(text: str) -> str:
    """Turn "a apple" into "an apple"."""
    words = text.split(" ")
    for i in range(len(words) - 1):
        if words[i] == "a" and words[i + 1][0] in "aeiou" and words[i + 1] != "unicorn":
            words[i] = "an"
    return " ".join(words)


def batch(rng: np.random.Generator, sprites: Sprites, count: int, crop: int | None = None) -> np.ndarray:
    """Return (count, 3, crop, crop) float32 pictures in -1..1; whole pictures when `crop` is None."""
    size = sprites.data.size
    side = size if crop is None else crop
    out = np.empty((count, side, side, 3), dtype=np.uint8)
    for i in range(count):
        picture = compose(rng, sprites, draw_scene(rng))
        top, left = (int(rng.integers(0, size - side + 1)) for _ in range(2))
        out[i] = picture[top : top + side, left : left + side]
    return out.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0
