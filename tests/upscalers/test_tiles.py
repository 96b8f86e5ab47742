"""Tiles: they cover everything, nobody sees where they meet, and each is told of."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.upscalers.models import UpscalerNetwork
from modules.upscalers.resize import Pixels
from modules.upscalers.tiles import FloatPixels, Network, enlarged_in_tiles, spans, tile_count
from tests.tiny_upscalers import tiny_compact


def noise(width: int, height: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def doubled(pixels: FloatPixels) -> FloatPixels:
    """The simplest upscaler: each pixel four times."""
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def compact(convolutions: int) -> Network:
    network = tiny_compact(convolutions=convolutions)
    return UpscalerNetwork("tiny", 2, True, torch.device("cpu"), torch.float32, lambda image: network(image).clamp(0, 1))  # type: ignore[arg-type]


def in_tiles(pixels: Pixels, network: Network, tile: int, overlap: int, scale: int = 2) -> Pixels:
    return enlarged_in_tiles(pixels, network, scale, tile=tile, overlap=overlap, on_tile=lambda: None)


@given(length=st.integers(1, 700), scale=st.integers(1, 4), tile=st.integers(0, 100), overlap=st.integers(0, 60))
def test_tiles_cover_an_axis_and_count_as_one_everywhere(length: int, scale: int, tile: int, overlap: int) -> None:
    found = spans(length, scale, tile, overlap)
    total = np.zeros(length * scale)
    for span in found:
        assert span.size <= (tile or length) and span.weights.min() >= 0
        total[span.start * scale : (span.start + span.size) * scale] += span.weights
    assert np.allclose(total, 1, atol=1e-6)
    assert all(before.start < after.start <= before.start + before.size for before, after in pairwise(found))
    if tile >= 2:
        shared = [before.start + before.size - after.start for before, after in pairwise(found)]
        assert all(pixels >= min(overlap, tile // 2) for pixels in shared)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 90), (37, 53), (64, 64), (65, 129), (200, 33)])
@pytest.mark.parametrize(("tile", "overlap"), [(0, 8), (16, 0), (24, 8), (32, 40), (1, 1)])
def test_any_picture_comes_out_whole(width: int, height: int, tile: int, overlap: int) -> None:
    picture = noise(width, height)
    made = in_tiles(picture, doubled, tile, overlap) if tile != 1 or width * height < 2000 else in_tiles(picture, doubled, 16, overlap)
    assert made.dtype == np.uint8
    assert np.array_equal(made, picture.repeat(2, axis=0).repeat(2, axis=1))


def test_a_network_that_sees_less_than_the_overlap_shows_no_tiles() -> None:
    """Two pixels on each side are within the quarter of 8 that is left out, at the picture's edges too: those are real edges."""
    picture, network = noise(90, 70), compact(convolutions=0)
    whole = in_tiles(picture, network, 0, 8).astype(int)
    assert whole.std() > 5
    for tile, overlap in ((32, 8), (48, 16), (40, 20)):
        assert np.abs(in_tiles(picture, network, tile, overlap) - whole).max() <= 1


def test_a_network_that_sees_further_fades_from_tile_to_tile() -> None:
    """Each tile brighter than the one before: along a row of pixels the brightness climbs in small steps, never at once."""
    levels = iter(np.linspace(0, 1, 3))

    def brighter(pixels: FloatPixels) -> FloatPixels:
        return np.full((pixels.shape[0] * 2, pixels.shape[1] * 2, 3), next(levels), np.float32)

    row = in_tiles(noise(64, 16), brighter, 32, 16)[0, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert np.diff(row).min() >= 0 and np.diff(row).max() <= 255 / 2 / 8


def test_every_tile_is_told_of_and_may_be_the_last() -> None:
    class EnoughError(Exception):
        pass

    told = []

    def on_tile() -> None:
        told.append(None)
        if len(told) == 20:
            raise EnoughError

    enlarged_in_tiles(noise(100, 60), doubled, 2, tile=32, overlap=8, on_tile=on_tile)
    assert len(told) == tile_count(100, 60, 32, 8) == 4 * 3
    with pytest.raises(EnoughError):
        enlarged_in_tiles(noise(100, 60), doubled, 2, tile=32, overlap=8, on_tile=on_tile)
    assert len(told) == 20
    assert tile_count(5000, 4000, 0, 8) == tile_count(192, 192, 192, 8) == 1


def test_beside_a_large_result_only_a_row_of_tiles_is_held() -> None:
    """4096x4096 is 50 MB; all of it in float32, which an untiled run holds, would be 200 MB more."""
    picture = noise(1024, 1024)

    def four_times(pixels: FloatPixels) -> FloatPixels:
        return pixels.repeat(4, axis=0).repeat(4, axis=1)

    tracemalloc.start()
    try:
        made = in_tiles(picture, four_times, 192, 8, scale=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.shape == (4096, 4096, 3)
    assert peak < made.nbytes * 2.5
