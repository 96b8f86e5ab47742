"""What holds for every row of the sampler registry, and so for every sampler that is ever added to it."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from modules.sampling.noise import SeededNoise
from modules.sampling.partial import partial_walk
from modules.sampling.registry import AUTOMATIC, DEFAULT_SAMPLER, SAMPLERS, SCHEDULES, SamplerRow, resolve_schedule
from modules.sampling.sigmas import SPACINGS, TIMESTEP_RULES, schedule_sigmas

ROWS = list(SAMPLERS.values())
SHAPE = (4, 12, 10)
SPREAD = 0.7
MODEL_SIGMAS = [math.exp(math.log(0.0292) + (math.log(14.61) - math.log(0.0292)) * (i / 999) ** 0.8) for i in range(1000)]


class Gaussian:
    """The exact denoiser of data that is normal with mean `MEAN` and spread `SPREAD`: its posterior mean has a closed form."""

    mean = torch.linspace(-1, 1, math.prod(SHAPE)).reshape(SHAPE)

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Size, float]] = []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.calls.append((x.shape, sigma))
        return (x * SPREAD**2 + self.mean * sigma**2) / (SPREAD**2 + sigma**2)

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        x0 = self(x, sigma)
        return x0, x0


def sigmas_of(row: SamplerRow, steps: int, schedule: str = AUTOMATIC) -> tuple[float, ...]:
    return schedule_sigmas(resolve_schedule(row.id, schedule), steps, MODEL_SIGMAS, sampler=row)


def draw(row: SamplerRow, sigmas: Sequence[float], seeds: Sequence[int], **params: float) -> tuple[Tensor, list[int], Gaussian]:
    """(pictures, the steps that were reported, the network)."""
    noise, network, steps = SeededNoise(seeds, SHAPE, "cpu"), Gaussian(), []
    x = noise.first() * (math.sqrt(1 + sigmas[0] ** 2) if row.variance_preserving else sigmas[0])

    def on_step(i: int, x: Tensor, sigma: float, x0: Tensor) -> None:
        assert x.shape == x0.shape
        assert sigma > 0
        steps.append(i)

    return row.load()(network, x, sigmas, noise, on_step, **params), steps, network


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 20, 40])
def test_any_number_of_steps_gives_a_finite_picture(row: SamplerRow, steps: int) -> None:
    pictures, reported, network = draw(row, sigmas_of(row, steps), [1])
    assert pictures.shape == (1, *SHAPE)
    assert pictures.dtype == torch.float32
    assert bool(torch.isfinite(pictures).all())
    assert reported == list(range(len(reported)))
    assert all(sigma > 0 for _, sigma in network.calls)
    if not row.own_levels and not row.timestep_rule:
        assert len(reported) == steps


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_enough_steps_draw_from_the_data(row: SamplerRow) -> None:
    """Samples of a Gaussian have its mean and its spread."""
    pictures, _, _ = draw(row, sigmas_of(row, 30), range(10))
    centred = pictures - Gaussian.mean
    assert abs(float(centred.mean())) < 0.03
    # LCM jumps to the posterior mean and so loses variety where there is any.
    low = 0.6 if row.id == "lcm" else 0.88
    assert low < float(centred.std()) / SPREAD < 1.1


@pytest.mark.parametrize("row", [row for row in ROWS if not row.adaptive], ids=lambda row: row.id)
def test_a_picture_does_not_depend_on_its_place_in_the_batch(row: SamplerRow) -> None:
    sigmas = sigmas_of(row, 9)
    together, _, _ = draw(row, sigmas, [5, 6, 7])
    for place, seed in enumerate([5, 6, 7]):
        alone, _, _ = draw(row, sigmas, [seed])
        assert torch.allclose(together[place], alone[0], atol=1e-5)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_same_seed_gives_the_same_picture(row: SamplerRow) -> None:
    sigmas = sigmas_of(row, 6)
    assert torch.equal(draw(row, sigmas, [3])[0], draw(row, sigmas, [3])[0])
    assert not torch.allclose(draw(row, sigmas, [3])[0], draw(row, sigmas, [4])[0])


class Stop(Exception):
    pass


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_it_stops_where_the_callback_says(row: SamplerRow) -> None:
    network, noise, sigmas = Gaussian(), SeededNoise([1], SHAPE, "cpu"), sigmas_of(row, 8)
    at = []

    def on_step(i: int, x: Tensor, sigma: float, x0: Tensor) -> None:
        at.append(i)
        if i == 1:
            raise Stop

    with pytest.raises(Stop):
        row.load()(network, noise.first() * sigmas[0], sigmas, noise, on_step)
    assert at == [0, 1]
    assert len(network.calls) <= 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_row_tells_the_truth(row: SamplerRow) -> None:
    function = row.load()
    assert set(row.params) <= set(inspect.signature(function).parameters)
    if row.params:
        values: dict[str, Any] = {"eta": 0.5, "s_churn": 4.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.01}
        values |= {"unipc_variant": "bh2", "unipc_order": 4, "unipc_lower_order_final": False}
        pictures, _, _ = draw(row, sigmas_of(row, 6), [1], **{name: values[name] for name in row.params})
        assert bool(torch.isfinite(pictures).all())
    assert row.automatic_schedule in SPACINGS
    assert not row.timestep_rule or row.timestep_rule in TIMESTEP_RULES
    assert row.variance_preserving == bool(row.timestep_rule)
    calls = len(draw(row, sigmas_of(row, 10), [1])[2].calls)
    assert (calls > 15) == (row.second_order or row.id in ("dpm_adaptive", "heunpp2"))


@pytest.mark.parametrize("schedule", [row.id for row in SCHEDULES.values() if row.id != AUTOMATIC])
@pytest.mark.parametrize("steps", [1, 2, 13, 150])
def test_every_schedule_falls(schedule: str, steps: int) -> None:
    sigmas = schedule_sigmas(schedule, steps, MODEL_SIGMAS, sampler=SAMPLERS["euler"])
    assert all(high > low for high, low in pairwise(sigmas))
    assert all(math.isfinite(sigma) and sigma >= 0 for sigma in sigmas)
    assert len(sigmas) >= 2


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("scheduled", [1001, 2500])
def test_the_end_of_a_schedule_longer_than_the_model_s_levels_can_be_walked(row: SamplerRow, scheduled: int) -> None:
    """A second pass that draws very little anew asks for such: the same level several times, or fewer levels than steps."""
    for schedule in SPACINGS:
        walk = partial_walk(row, scheduled, 5, lambda steps, schedule=schedule: sigmas_of(row, steps, schedule), tuple(MODEL_SIGMAS))
        assert walk is not None
        pictures, _, _ = draw(row, walk.sigmas, [1])
        assert bool(torch.isfinite(pictures).all()), schedule


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_network_without_finite_numbers_comes_to_an_end(row: SamplerRow) -> None:
    class Broken(Gaussian):
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            return super().__call__(x, sigma) * math.nan

    def on_step(i: int, x: Tensor, sigma: float, x0: Tensor) -> None:
        assert i < 100, "it goes on for ever"

    noise, sigmas = SeededNoise([1], SHAPE, "cpu"), sigmas_of(row, 8)
    made = row.load()(Broken(), noise.first() * sigmas[0], sigmas, noise, on_step)
    assert not bool(torch.isfinite(made).all())


def test_the_order_is_the_one_users_know() -> None:
    assert ROWS[0].id == DEFAULT_SAMPLER
    assert [row.label for row in ROWS[:8]] == [
        *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler")
    ]
    assert [row.label for row in SCHEDULES.values()][:4] == ["Automatic", "Uniform", "Karras", "Exponential"]


def test_listing_the_samplers_needs_no_torch() -> None:
    code = "import sys, modules.sampling.registry, modules.sampling.sigmas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
