"""The maths around the networks: noise levels, timesteps, eps and v, against reference numbers and against diffusers."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers.schedulers.scheduling_euler_discrete import rescale_zero_terminal_snr
from hypothesis import given
from hypothesis import strategies as st

from modules.families.parametrization import downcast_levels, from_x0, model_sigmas, timestep_of, to_x0

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "sigmas.json"


@pytest.fixture(scope="module")
def sigmas() -> tuple[float, ...]:
    return model_sigmas(0.00085, 0.012)


def test_sd1s_noise_levels_are_the_reference_ones(sigmas: tuple[float, ...]) -> None:
    reference = json.loads(VECTORS.read_text())["model_sigmas"]
    assert len(sigmas) == 1000
    assert sigmas == pytest.approx(reference, rel=1e-5)


def test_timesteps_are_fractional_and_clamped(sigmas: tuple[float, ...]) -> None:
    logs = [math.log(sigma) for sigma in sigmas]
    for step in (0, 1, 500, 998, 999):
        assert timestep_of(sigmas[step], logs) == pytest.approx(step, abs=1e-6)
    between = timestep_of(math.sqrt(sigmas[400] * sigmas[401]), logs)
    assert between == pytest.approx(400.5, abs=1e-6)
    assert timestep_of(0.0, logs) == 0.0
    assert timestep_of(1e9, logs) == 999.0


@given(sigma=st.floats(0.03, 15.0), prediction=st.sampled_from(["eps", "v"]))
def test_to_x0_and_back(sigma: float, prediction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 4, 4, generator=generator).double(), torch.randn(2, 4, 4, 4, generator=generator).double()
    x = x0 + sigma * noise
    output = from_x0(prediction, x0, x, sigma)
    alpha = 1 / math.sqrt(1 + sigma**2)
    wanted = noise if prediction == "eps" else alpha * noise - sigma * alpha * x0
    assert torch.allclose(output, wanted, atol=1e-9)
    assert torch.allclose(to_x0(prediction, output, x, sigma), x0, atol=1e-9)


def test_a_schedule_without_signal_at_its_end() -> None:
    plain, stretched = model_sigmas(0.00085, 0.012), model_sigmas(0.00085, 0.012, zero_snr=True)
    assert stretched[0] == pytest.approx(plain[0], rel=1e-6)
    assert all(low < high for low, high in pairwise(stretched))
    # what A1111 has at the end, a signal of 4.8973e-08, and diffusers' own stretched betas before it
    assert stretched[-1] == pytest.approx(4518.7, rel=1e-4)
    betas = rescale_zero_terminal_snr(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)
    alphas = torch.cumprod(1 - betas, dim=0)[:-1]
    assert stretched[:-1] == pytest.approx(((1 - alphas) / alphas).sqrt().tolist(), rel=1e-6)


def test_levels_reckoned_in_half_precision_are_those_of_the_rounded_table(sigmas: tuple[float, ...]) -> None:
    levels, logs = downcast_levels(sigmas)
    # by hand: 0.99915 rounds to 1023/1024, whose level is sqrt(1/1023)
    assert (levels[0], levels[-1]) == (0.03125, 14.609375)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    half = torch.cumprod(1 - betas, dim=0).float().half()
    expected = ((1 - half) / half) ** 0.5
    assert levels == tuple(expected.tolist())
    assert logs == tuple(expected.log().tolist())
    assert [timestep_of(levels[step], logs) for step in (0, 500, 999)] == pytest.approx([0, 500, 999], abs=0.5)


def test_levels_beyond_half_precision_stay() -> None:
    stretched = model_sigmas(0.00085, 0.012, zero_snr=True)
    levels, logs = downcast_levels(stretched)
    assert levels[-1] == stretched[-1]
    assert all(low < high for low, high in pairwise(levels)) and all(low <= high for low, high in pairwise(logs))
