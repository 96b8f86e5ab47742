"""What the model is taught: the pictures, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest

from training.starter import pictures
from training.starter.config import CPU64, TINY
from training.starter.judge import border_colour
from training.starter.names import COLOURS, LANDSCAPES, NAMES, plural
from training.starter.scenes import (
    ABOVE,
    BESIDE,
    COLOUR_LIST,
    GROUND_LIST,
    NAME_LIST,
    NOTHING,
    THREE,
    WHITE,
    Scene,
    caption,
    draw_composition,
    told,
)
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
        picture = pictures.compose(rng, sprites, Scene(i, colour))
        assert picture.shape == (64, 64, 3)
        assert picture[16:48, 16:48].astype(float).std() > 5
        right += border_colour(picture) == COLOUR_LIST[colour]
    assert right >= 0.9 * len(range(0, len(NAMES), 4))


def test_pictures_depend_on_the_seed_alone() -> None:
    sprites = _sprites()
    a = pictures.batch(np.random.default_rng(5), sprites, 3, 32)
    assert np.array_equal(a, pictures.batch(np.random.default_rng(5), sprites, 3, 32))
    assert a.shape == (3, 3, 32, 32)
    assert -1 <= a.min() < a.max() <= 1


def test_captions() -> None:
    rng = np.random.default_rng(0)
    scene = Scene(NAME_LIST.index("apple"), COLOUR_LIST.index("orange"))
    said = {caption(rng, TINY.data, scene) for _ in range(400)}
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


def test_two_objects_stand_in_their_places() -> None:
    sprites, rng = _sprites(), np.random.default_rng(7)
    tomato, frog = NAME_LIST.index("tomato"), NAME_LIST.index("frog")
    for layout, axis in ((BESIDE, 1), (ABOVE, 0)):
        picture = pictures.compose(rng, sprites, Scene(tomato, WHITE, layout, frog)).astype(float)
        first, second = np.array_split(picture, 2, axis=axis)
        reds = [(part[..., 0] - part[..., 1] > 100).mean() for part in (first, second)]
        assert reds[0] > 0.1 > 0.02 > reds[1]  # the tomato, and the frog's mouth at most
    three = pictures.compose(rng, sprites, Scene(tomato, WHITE, THREE)).astype(float)
    red = (three[..., 0] - three[..., 1]).max(axis=0) > 100
    assert np.count_nonzero(np.diff(red.astype(int)) == 1) == 3


@pytest.mark.parametrize("name", LANDSCAPES)
def test_landscapes_differ_from_time_to_time(name: str) -> None:
    sprites, rng = _sprites(), np.random.default_rng(1)
    a, b = (pictures.ground(rng, sprites.data, GROUND_LIST.index(name), (64, 64)) for _ in range(2))
    assert a.shape == (64, 64, 3)
    assert a.min() >= 0
    assert a.max() <= 255
    assert not np.array_equal(a, b)


def test_a_caption_tells_what_is_there_and_no_more() -> None:
    rng = np.random.default_rng(2)
    words = {BESIDE: "left right and with next", ABOVE: "above below under top bottom"}
    for _ in range(600):
        scene = draw_composition(rng, TINY.data)
        text, said = told(rng, TINY.data, scene)
        if not text:
            assert said.name == said.other == said.ground == said.layout == NOTHING
            continue
        assert said.ground in (scene.ground, NOTHING)
        assert said.layout in (scene.layout, NOTHING)
        assert {said.name, said.other} == {scene.name, scene.other}
        told_words = set(text.replace(",", "").split())
        assert (said.layout == scene.layout) or scene.layout in (BESIDE, ABOVE)
        for layout, places in words.items():
            if said.layout == layout:
                assert told_words & set(places.split())
        if said.layout != NOTHING and said.other != NOTHING:
            assert (said.name, said.other) == (scene.name, scene.other)


def test_more_than_one() -> None:
    assert [plural(name) for name in ("cat", "bus", "strawberry", "mouse", "fish", "key", "peach", "hot dog")] == [
        "cats", "buses", "strawberries", "mice", "fish", "keys", "peaches", "hot dogs",
    ]  # fmt: skip
