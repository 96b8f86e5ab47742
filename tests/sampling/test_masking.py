"""Denoisers that keep part of a latent: to the last bit, in every sampler, and softly."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from modules.families.parametrization import model_sigmas
from modules.sampling.masking import HardMix, Masked, SoftMix, blended
from modules.sampling.noise import SeededNoise
from modules.sampling.partial import kept_steps, partial_walk
from modules.sampling.registry import SAMPLERS
from modules.sampling.sigmas import schedule_sigmas

SHAPE = (2, 4, 8, 8)
MODEL_SIGMAS = model_sigmas(0.00085, 0.012)


class Gaussian:
    """The exact denoiser of standard normal data, whose unconditional half sees less of x."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return x / (1 + sigma * sigma)

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return self(x, sigma), self(x, sigma) * 0.9


def a_latent(seed: int = 5) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def a_mask() -> Tensor:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 3:7] = 1.0
    return mask


@pytest.mark.parametrize("row", SAMPLERS.values(), ids=lambda row: row.id)
def test_every_sampler_ends_at_what_is_kept(row) -> None:
    kept, mask = a_latent(), a_mask()
    steps = 12

    def whole(count: int) -> tuple[float, ...]:
        return schedule_sigmas("karras" if not row.timestep_rule else "uniform", count, MODEL_SIGMAS, sampler=row)

    walk = partial_walk(row, steps, kept_steps(steps, 0.6), whole, MODEL_SIGMAS)
    assert walk is not None
    noise = SeededNoise((1, 2), SHAPE[1:], "cpu")
    seen: list[Tensor] = []
    made = row.load()(
        Masked(Gaussian(), HardMix(kept, mask)),
        walk.start(kept, noise.first()),
        walk.sigmas,
        noise,
        lambda i, x, sigma, denoised: seen.append(denoised),
    )
    outside = (mask == 0).expand(SHAPE)
    assert all(torch.equal(each[outside], kept[outside]) for each in seen)
    scale = float(kept.abs().max())
    # the last level of timestep samplers is not quite 0
    assert (made - kept)[outside].abs().max() < 0.06 * scale
    assert (made - kept)[~outside].abs().max() > 0.3


def test_a_hard_mix_changes_no_bit() -> None:
    kept, mask = a_latent(), a_mask()
    x0 = a_latent(9)
    made = HardMix(kept, mask)(x0, 1.0)
    outside = (mask == 0).expand(SHAPE)
    assert torch.equal(made[outside], kept[outside]) and torch.equal(made[~outside], x0[~outside])


def test_a_soft_mix_lets_go_as_the_noise_goes() -> None:
    kept, x0 = torch.zeros(SHAPE), a_latent()
    mask = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    mix = SoftMix(kept, mask, bias=1.0, strength=0.5, contrast=1.0)
    shares = [mix(x0, sigma).norm(dim=1) / x0.norm(dim=1) for sigma in (10.0, 2.0, 0.2)]
    for share in shares:
        assert torch.allclose(share[..., 0], torch.zeros(8), atol=1e-4)
        assert torch.allclose(share[..., -1], torch.ones(8), atol=1e-4)
        assert bool((share.diff(dim=-1) >= -1e-5).all())
    for earlier, later in itertools.pairwise(shares):
        assert bool((later[..., 1:-1] > earlier[..., 1:-1]).all())


def test_mixing_keeps_lengths_where_a_mean_would_shorten_them() -> None:
    first, second, half = a_latent(), a_latent(9), torch.full((1, 1, 8, 8), 0.5)
    mean, mixed = (first + second) / 2, blended(first, second, half, 4.0)
    shorter = torch.minimum(first.norm(dim=1), second.norm(dim=1))
    longer = torch.maximum(first.norm(dim=1), second.norm(dim=1))
    assert bool((mixed.norm(dim=1) >= shorter - 1e-4).all()) and bool((mixed.norm(dim=1) <= longer + 1e-4).all())
    assert mean.norm() < mixed.norm()
    cosine = torch.nn.functional.cosine_similarity(mean, mixed, dim=1)
    assert bool((cosine > 0.9999).all()), "the direction is the mean's"
    assert torch.allclose(blended(first, second, torch.zeros(1, 1, 8, 8), 4.0), first, atol=1e-4)
    assert torch.allclose(blended(first, second, torch.ones(1, 1, 8, 8), 4.0), second, atol=1e-4)
