"""Styles and shapes that a caption can ask for, and what learns them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.starter import pictures
from training.starter.config import STYLES128
from training.starter.judge import unseen
from training.starter.muon import Muon, optimizers, orthogonal
from training.starter.scenes import BESIDE, NOTHING, STYLE_LIST, Scene, draw_composition, told
from training.starter.styles import STYLES, follows

DATA = STYLES128.data


@pytest.fixture(scope="module")
def sprites() -> pictures.Sprites:
    try:
        pictures.font_path()
    except FileNotFoundError:
        pytest.skip("Noto Color Emoji is not installed")
    return pictures.Sprites(unseen(DATA))


def test_styles_are_seen_where_they_are_and_nowhere_else(sprites: pictures.Sprites) -> None:
    rng = np.random.default_rng(8)
    plain = [pictures.compose(rng, sprites, draw_composition(rng, sprites.data)) for _ in range(40)]
    for asked in STYLES:
        drawn = [STYLES[asked].apply(picture) for picture in plain]
        for name in STYLES:
            seen = np.mean([follows(name, a, b) for a, b in zip(drawn, plain, strict=True)])
            assert seen >= 0.9 if name == asked else seen <= 0.1, (asked, name, seen)
        assert np.mean([follows(asked, picture, picture) for picture in plain]) <= 0.05


def test_a_style_is_said_and_drawn(sprites: pictures.Sprites) -> None:
    rng = np.random.default_rng(9)
    data = replace(DATA, styled=1.0, empty_caption=0.0)
    words = {"sepia": "sepia", "watercolour": "watercolo"}
    for _ in range(200):
        scene = draw_composition(rng, data)
        text, said = told(rng, data, scene)
        assert words[STYLE_LIST[scene.style]] in text
        assert said.style == scene.style
    scene = Scene(3, 0)
    ordinary, styled = (pictures.compose(np.random.default_rng(1), sprites, s) for s in (scene, replace(scene, style=0)))
    assert np.array_equal(styled, STYLES[STYLE_LIST[0]].apply(ordinary))
    assert told(rng, DATA, scene)[1].style == NOTHING


@pytest.mark.parametrize("shape", DATA.shapes)
def test_other_shapes_hold_the_same_things(sprites: pictures.Sprites, shape: tuple[int, int]) -> None:
    for scene in (Scene(3, 0), Scene(3, 0, BESIDE, 5), Scene(3, 15)):
        picture = pictures.compose(np.random.default_rng(2), sprites, scene, shape)
        assert picture.shape == (*shape, 3)
        middle = picture[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4].astype(float)
        assert middle.std() > 5


def test_muon_steps_along_every_direction_alike() -> None:
    torch.manual_seed(0)
    for shape in ((32, 96), (96, 32)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.4


def test_muon_leaves_tables_and_biases_to_adam() -> None:
    module = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(3, 8, 3), "table": torch.nn.Embedding(9, 4), "norm": torch.nn.GroupNorm(2, 8)})
    muon, adam = optimizers(module, 1e-3, muon=True)
    assert isinstance(muon, Muon)
    assert [p.shape for group in muon.param_groups for p in group["params"]] == [module["conv"].weight.shape]
    assert len(adam.param_groups[0]["params"]) == 4
    assert [type(o) for o in optimizers(module, 1e-3, muon=False)] == [torch.optim.AdamW]


def test_muon_fits_a_convolution() -> None:
    torch.manual_seed(0)
    wanted, learner = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(3, 8, 3)
    before = float((learner.weight - wanted.weight).detach().norm())
    pair = optimizers(learner, 1e-2, muon=True)
    for step in range(300):
        x = torch.randn(16, 3, 8, 8)
        torch.nn.functional.mse_loss(learner(x), wanted(x)).backward()
        for optimizer in pair:
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * (1 - step / 300)
            optimizer.step()
            optimizer.zero_grad()
    assert float((learner.weight - wanted.weight).detach().norm()) < 0.1 * before
