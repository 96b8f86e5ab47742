"""What the model is taught: the pictures, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest

from training.starter import pictures
from training.starter.config import CPU64, TINY
from training.starter.judge import border_colour
from training.starter.names import COLOURS, NAMES
from training.starter.tokens import SmallVocabulary, padded, words_to_ids


def _sprites() -> pictures.Sprites:
    try:
        pictures.font_path()
    except FileNotFoundError:
        pytest.skip("Noto Color Emoji is not installed")
    return pictures.Sprites(CPU64.data)


def test_names_are_short_and_distinct() -> None:
    assert 120 <= len(NAMES) <= 160
    assert len(set(NAMES.values())) == len(NAMES)
    assert all(name == name.lower() and len(name) < 16 for name in NAMES)


def test_every_name_is_drawn_and_backgrounds_are_near_their_name() -> None:
    sprites, rng = _sprites(), np.random.default_rng(3)
    right = 0
    for i in range(0, len(NAMES), 4):
        colour = i % len(COLOURS)
        picture = pictures.compose(rng, sprites, pictures.Scene(i, colour))
        assert picture.shape == (64, 64, 3)
        assert picture[16:48, 16:48].astype(float).std() > 5
        right += border_colour(picture) == pictures.COLOUR_LIST[colour]
    assert right >= 0.9 * len(range(0, len(NAMES), 4))


def test_pictures_depend_on_the_seed_alone() -> None:
    sprites = _sprites()
    a = pictures.batch(np.random.default_rng(5), sprites, 3, 32)
    assert np.array_equal(a, pictures.batch(np.random.default_rng(5), sprites, 3, 32))
    assert a.shape == (3, 3, 32, 32)
    assert -1 <= a.min() < a.max() <= 1


def test_captions() -> None:
    rng = np.random.default_rng(0)
    scene = pictures.Scene(pictures.NAME_LIST.index("apple"), pictures.COLOUR_LIST.index("orange"))
    said = {pictures.caption(rng, TINY.data, scene) for _ in range(400)}
    assert "" in said
    assert "an apple on an orange background" in said
    assert all("apple" in text for text in said if text)


def test_tokens_are_clips() -> None:
    assert padded(words_to_ids("cat"))[:4].tolist() == [49406, 2368, 49407, 49407]
    assert words_to_ids("A  red FOX") == (320, 736, 3240)
    assert len(padded(words_to_ids("cat " * 100))) == 77


def test_unknown_words_share_one_row() -> None:
    small = SmallVocabulary()
    row = small.table[padded(words_to_ids("a cat zyxw"))]
    assert row.max() == small.unknown == len(small) - 1
    for word in (*NAMES, *COLOURS):
        assert small.unknown not in small.table[list(words_to_ids(word))]
    plain = small.table[padded(words_to_ids("a cat"))]
    disturbed = small.disturb(np.random.default_rng(0), plain)
    assert disturbed.shape == (77,)
    assert small.unknown in disturbed
    assert set(plain) <= set(disturbed)
