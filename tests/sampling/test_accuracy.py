"""Samplers are judged by a problem with a known answer, and by an independent implementation of the same method."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor

from modules.sampling.noise import SeededNoise
from modules.sampling.ode_samplers import ancestral_step
from modules.sampling.registry import SAMPLERS
from modules.sampling.sigmas import schedule_sigmas

SHAPE = (4, 8, 8)
SPREAD = 0.7
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHAS = np.cumprod(1 - BETAS)
MODEL_SIGMAS = [float(sigma) for sigma in np.sqrt((1 - ALPHAS) / ALPHAS)]


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Posterior mean for data that is normal with mean 0.3 and spread SPREAD."""
    return (x * SPREAD**2 + 0.3 * sigma**2) / (SPREAD**2 + sigma**2)


def exact(x: Tensor, sigma: float, target: float) -> Tensor:
    """Where the probability flow of that data leads from `sigma` to `target`."""
    return 0.3 + (x - 0.3) * math.sqrt((SPREAD**2 + target**2) / (SPREAD**2 + sigma**2))


def nothing(i: int, x: Tensor, sigma: float, x0: Tensor) -> None:
    return


def error_of(sampler: str, steps: int) -> float:
    sigmas = [math.exp(math.log(10.0) + (math.log(0.1) - math.log(10.0)) * i / steps) for i in range(steps + 1)]
    noise = SeededNoise([0], SHAPE, "cpu")
    x = noise.first().double() * 10
    final = SAMPLERS[sampler].load()(gaussian, x, sigmas, noise, nothing)
    return float((final - exact(x, 10.0, 0.1)).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("dpm_2", 2), ("dpmpp_2m", 2), ("lms", 3)])
def test_error_shrinks_with_the_order_of_the_method(sampler: str, order: int) -> None:
    """Halving the steps' length divides the error by 2 to the order."""
    measured = math.log2(error_of(sampler, 64) / error_of(sampler, 128))
    assert measured > order - 0.35


@pytest.mark.parametrize("sampler", ["plms", "unipc", "ddim"])
def test_timestep_samplers_come_to_the_same_place(sampler: str) -> None:
    row, noise = SAMPLERS[sampler], SeededNoise([0], SHAPE, "cpu")
    sigmas = schedule_sigmas("", 100, MODEL_SIGMAS, sampler=row)
    x = noise.first() * math.sqrt(1 + sigmas[0] ** 2)
    final = row.load()(gaussian, x, sigmas, noise, nothing)
    expected = exact(x, sigmas[0], sigmas[-1]) / math.sqrt(1 + sigmas[-1] ** 2)
    assert float((final - expected).abs().max()) < (0.05 if sampler == "ddim" else 0.015)


def test_ancestral_step_keeps_the_variance() -> None:
    for eta in (0.0, 0.5, 1.0):
        down, up = ancestral_step(5.0, 2.0, eta)
        assert math.isclose(down**2 + up**2, 4.0)
    assert ancestral_step(5.0, 0.0) == (0.0, 0.0)
    assert ancestral_step(5.0, 2.0, 0.0) == (2.0, 0.0)


def eps_network(x_t: Tensor, t: float) -> Tensor:
    """A noise prediction that is no Gaussian's, so that every step matters."""
    return torch.tanh(x_t * 0.9) + 0.1 * math.sin(t / 100)


def ours(sampler: str, sigmas: Sequence[float], times: Sequence[float], x: Tensor) -> Tensor:
    calls = iter(times)

    def denoise(at: Tensor, sigma: float) -> Tensor:
        return at - sigma * eps_network(at / math.sqrt(1 + sigma**2), next(calls))

    return SAMPLERS[sampler].load()(denoise, x, sigmas, SeededNoise([0], SHAPE, "cpu"), nothing)


def start() -> Tensor:
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_equal_to_diffusers(sampler: str) -> None:
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "use_karras_sigmas": True}
    if sampler == "euler":
        scheduler = EulerDiscreteScheduler(**settings)
    else:
        scheduler = DPMSolverMultistepScheduler(**settings, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero")
    scheduler.set_timesteps(12)
    unit = start()
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    got = ours(sampler, sigmas, [float(t) for t in scheduler.timesteps], unit * sigmas[0])
    # One of the two works in x_t / alpha, as we do, the other in x_t.
    x = unit * sigmas[0] if sampler == "euler" else unit * sigmas[0] / math.sqrt(1 + sigmas[0] ** 2)
    for t in scheduler.timesteps:
        x = scheduler.step(eps_network(scheduler.scale_model_input(x, t), float(t)), t, x).prev_sample
    assert torch.allclose(got, x, atol=2e-4)


def test_ddim_is_equal_to_diffusers() -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    scheduler.set_timesteps(10)
    times = [int(t) for t in scheduler.timesteps]
    sigmas = schedule_sigmas("", 10, MODEL_SIGMAS, sampler=SAMPLERS["ddim"])
    np.testing.assert_allclose(sigmas, [MODEL_SIGMAS[t] for t in times], rtol=1e-6)
    x = start()
    got = ours("ddim", sigmas, [float(t) for t in times], x * math.sqrt(1 + sigmas[0] ** 2))
    # A1111 stops one step before the end of the list, where the last level is that of timestep 1.
    for t in times[:-1]:
        x = scheduler.step(eps_network(x, float(t)), t, x, eta=0.0).prev_sample
    assert torch.allclose(got, x, atol=1e-4)
