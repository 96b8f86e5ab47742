"""From a network's own factor to the wanted size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modules.upscalers.models import UpscalerModels, UpscalerNetwork
from modules.upscalers.resize import Pixels, resized
from modules.upscalers.upscale import passes, upscaled
from modules.weights.upscaler_files import read_upscaler
from tests.tiny_upscalers import tiny_compact, write_upscaler


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> UpscalerNetwork:
    folder = tmp_path_factory.mktemp("upscalers")
    return UpscalerModels(read_upscaler, torch.device("cpu"), torch.float32).get(write_upscaler(folder / "tiny.pth", tiny_compact(2)))


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(pixels: Pixels, wanted: tuple[int, int], network: UpscalerNetwork, tile: int = 0) -> tuple[Pixels, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    made = upscaled(pixels, wanted, network, tile=tile, overlap=8, progress=lambda number, count: told.append((number, count)))
    return made, told


@pytest.mark.parametrize(
    ("size", "wanted", "scale", "starts"),
    [
        ((10, 20), (20, 40), 2, [(10, 20)]),
        ((10, 20), (15, 30), 4, [(10, 20)]),
        ((10, 20), (50, 100), 4, [(10, 20), (40, 80)]),
        ((10, 20), (200, 400), 2, [(10, 20), (20, 40), (40, 80)]),
        ((10, 20), (20, 90), 2, [(10, 20), (20, 40), (40, 80)]),
        ((10, 20), (10, 20), 4, [(10, 20)]),
        ((10, 20), (5, 10), 4, []),
        ((10, 20), (40, 80), 1, [(10, 20)]),
    ],
)
def test_the_network_runs_until_the_picture_is_large_enough(
    size: tuple[int, int], wanted: tuple[int, int], scale: int, starts: list[tuple[int, int]]
) -> None:
    assert passes(size, wanted, scale) == starts


def test_the_networks_own_size_is_its_own_picture(network: UpscalerNetwork) -> None:
    picture = noise(12, 9)
    with torch.inference_mode():
        made = tiny_compact(2)(torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert np.abs(run(picture, (24, 18), network)[0] - made.clamp(0, 1).numpy() * 255).max() < 0.51


def test_what_is_too_much_or_missing_is_resized(network: UpscalerNetwork) -> None:
    picture = noise(12, 9)
    twice = run(picture, (24, 18), network)[0]
    four_times = run(twice, (48, 36), network)[0]
    assert np.array_equal(run(picture, (18, 14), network)[0], resized(twice, (18, 14), "Lanczos"))
    assert np.array_equal(run(picture, (40, 30), network)[0], resized(four_times, (40, 30), "Lanczos"))
    assert np.array_equal(run(picture, (5, 4), network)[0], resized(picture, (5, 4), "Lanczos"))


def test_tiles_of_all_passes_are_counted_together(network: UpscalerNetwork) -> None:
    made, told = run(noise(20, 20), (80, 80), network, tile=24)
    assert made.shape == (80, 80, 3)
    assert told == [(number, 1 + 4) for number in range(1, 6)]
