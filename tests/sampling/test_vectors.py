"""The numbers are those that users' pictures were made from: schedules, noise and every sampler's trajectory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modules.sampling.noise import SeededNoise
from modules.sampling.partial import kept_steps, partial_walk
from modules.sampling.registry import SAMPLERS, SCHEDULES, SamplerRow, resolve_schedule
from modules.sampling.sigmas import schedule_sigmas, sigma_at

VECTORS = Path(__file__).parent.parent / "vectors"
SIGMAS: dict[str, Any] = json.loads((VECTORS / "sigmas.json").read_text())
MODEL_SIGMAS: list[float] = SIGMAS["model_sigmas"]
RNG: list[dict[str, Any]] = json.loads((VECTORS / "rng.json").read_text())["cases"]
TRAJECTORIES: list[dict[str, Any]] = json.loads((VECTORS / "trajectories" / "index.json").read_text())["cases"]
VARIATIONS: list[dict[str, Any]] = [
    case for source in ("CPU", "NV") for case in json.loads((VECTORS / f"rng_variations_{source}.json").read_text())
]
TARGET = torch.from_numpy(np.load(VECTORS / "trajectories" / "target.npy"))
INIT = torch.from_numpy(np.load(VECTORS / "trajectories" / "init_latent.npy"))


@pytest.mark.parametrize("label", list(SIGMAS["sd1_a1111_variant"]))
@pytest.mark.parametrize("model", ["sd1_a1111_variant", "sdxl"])
def test_schedules(model: str, label: str) -> None:
    schedule = next(row.id for row in SCHEDULES.values() if row.label == label)
    for steps, expected in SIGMAS[model].get(label, {}).items():
        got = schedule_sigmas(
            resolve_schedule("euler", schedule), int(steps), MODEL_SIGMAS, sampler=SAMPLERS["euler"], sdxl=model == "sdxl"
        )
        # The SDXL figures come from a program that rounds to whole timesteps where this one interpolates.
        tolerance = 1e-5 if model != "sdxl" or label not in ("Automatic", "Uniform", "SGM Uniform", "Normal") else 5e-3
        np.testing.assert_allclose(got, expected, rtol=tolerance)


@pytest.mark.parametrize("steps", list(SIGMAS["timesteps"]))
def test_timestep_samplers_have_their_own_spacing(steps: str) -> None:
    got = schedule_sigmas("karras", int(steps), MODEL_SIGMAS, sampler=SAMPLERS["ddim"])
    np.testing.assert_allclose(got, [MODEL_SIGMAS[t] for t in reversed(SIGMAS["timesteps"][steps])], rtol=1e-6)


@pytest.mark.parametrize(
    "case", [case for case in RNG if "seed" in case], ids=lambda case: f"{case['source']}-{case['seed']}-{case['shape']}"
)
def test_noise(case: dict[str, Any]) -> None:
    noise = SeededNoise([case["seed"]], tuple(case["shape"]), "cpu", source=case["source"].lower(), seed_delta=case.get("ensd", 0))
    first = noise.first().flatten()
    np.testing.assert_allclose(first[:16], case["first16"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(noise.draw().flatten()[:16], case["second_first16"], rtol=0, atol=1e-6)
    if "last4" in case:
        np.testing.assert_allclose(first[-4:], case["last4"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(first.double().sum(), case["sum64"], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(noise.draw().flatten()[:4], case["third_first4"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", VARIATIONS, ids=lambda case: f"{case['source']}-{case['strength']}-{case['resize_h']}x{case['resize_w']}")
def test_variation_seeds_and_resized_seeds(case: dict[str, Any]) -> None:
    resize = (case["resize_h"] // 8, case["resize_w"] // 8)
    noise = SeededNoise(
        case["seeds"],
        tuple(case["shape"]),
        "cpu",
        source=case["source"].lower(),
        variation_seeds=case["subseeds"],
        variation_strength=case["strength"],
        resize_from=resize if all(resize) else None,
    )
    np.testing.assert_allclose(noise.first().flatten(), case["first"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(noise.draw().flatten()[:16], case["second_first16"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in RNG if case.get("brownian")], ids=lambda case: case["source"])
def test_brownian_paths(case: dict[str, Any]) -> None:
    noise = SeededNoise(case["seeds"], tuple(case["shape"])[-3:], "cpu", source=case["source"].lower())
    path = noise.brownian(case["sigma_min"], case["sigma_max"])
    for sigma, target, expected in zip(case["sigmas"], case["sigmas"][1:], case["noises_first8_per_batch"], strict=False):
        got = path(sigma, target)
        for image, numbers in zip(got, expected, strict=True):
            np.testing.assert_allclose(image.flatten()[:8], numbers, rtol=0, atol=1e-5)


class Recorded:
    """The noise that a case was recorded with."""

    def __init__(self, data: Any) -> None:
        self._noises = [torch.from_numpy(noise) for noise in data["noises"]]
        self._brownian = [torch.from_numpy(noise) for noise in data["brownian"]]
        self._levels = [tuple(levels) for levels in data["brownian_sigmas"].tolist()] if len(data["brownian"]) else []
        self.next = 0

    def first(self) -> Tensor:
        self.next = 1
        return self._noises[0]

    def draw(self) -> Tensor:
        self.next += 1
        # The recording ends with the last draw that mattered.
        return self._noises[self.next - 1] if self.next <= len(self._noises) else torch.zeros_like(self._noises[0])

    def brownian(self, sigma_min: float, sigma_max: float) -> Callable[[float, float], Tensor]:
        calls = iter(zip(self._brownian, self._levels, strict=True))

        def increment(sigma: float, sigma_next: float) -> Tensor:
            noise, levels = next(calls)
            np.testing.assert_allclose((sigma, sigma_next), levels, rtol=1e-4)
            return noise

        return increment


def denoised(x: Tensor, sigma: float) -> Tensor:
    """The analytic network of the recordings."""
    return (x + sigma**2 * TARGET) / (1 + sigma**2) + 0.3 * torch.sin(x / (1 + sigma) + TARGET) * sigma / (1 + sigma)


class Network:
    """`denoised` as the recorded program called it: timestep samplers hand over a timestep, which it may round."""

    def __init__(self, case: dict[str, Any]) -> None:
        self._case = case
        self.calls: list[float] = []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return x - sigma * self._eps(x, sigma)

    def split(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        eps = self._eps(x, sigma)
        return x - sigma * eps, x - sigma * (0.9 * eps + 0.02)

    def _eps(self, x: Tensor, sigma: float) -> Tensor:
        self.calls.append(sigma)
        if self._case["kind"] == "k":
            return (x - denoised(x, sigma)) / sigma
        t = self._case["model_calls"][len(self.calls) - 1]
        level = MODEL_SIGMAS[round(t)] if self._case["timestep_mode"] == "round" else sigma_at(t, MODEL_SIGMAS)
        x = x * ((1 + level**2) / (1 + sigma**2)) ** 0.5
        return (x - denoised(x, level)) / level


def start_of(case: dict[str, Any], row: SamplerRow, noise: Recorded) -> tuple[Tensor, tuple[float, ...]]:
    """(x, sigmas) at the beginning of the case's trajectory."""
    schedule = next((s.id for s in SCHEDULES.values() if s.label == case["params"].get("scheduler")), "automatic")
    sigmas = schedule_sigmas(
        resolve_schedule(row.id, schedule),
        case["steps"],
        MODEL_SIGMAS,
        sampler=row,
        rho=case["options"].get("rho"),
        discard_penultimate=case["options"].get("always_discard_next_to_last_sigma", False),
    )
    unit = noise.first()
    if case["mode"] == "txt2img":
        return unit * ((1 + sigmas[0] ** 2) ** 0.5 if row.variance_preserving else sigmas[0]), sigmas
    kept = kept_steps(case["steps"], case["denoising_strength"])
    walk = partial_walk(row, case["steps"], kept, lambda _: sigmas, MODEL_SIGMAS)
    assert walk is not None
    return walk.start(INIT, unit, case["options"].get("img2img_extra_noise", 0.0)), walk.sigmas


OTHER_CALLBACKS = ("dpm_adaptive", "ipndm", "ipndm_v", "deis")
"""The recorded program reported other x than the one that the network was called with."""

OURS = {"uni_pc_variant": "unipc_variant"}
"""A1111's options that are parameters of samplers here."""


@pytest.mark.parametrize("case", TRAJECTORIES, ids=lambda case: case["file"][:-4])
def test_trajectory(case: dict[str, Any]) -> None:
    row = next((row for row in SAMPLERS.values() if row.label == case["sampler"]), None)
    assert row is not None
    if row.id == "ddpm":
        pytest.skip("the recording has no noise")
    data = np.load(VECTORS / "trajectories" / case["file"])
    noise, network = Recorded(data), Network(case)
    x, sigmas = start_of(case, row, noise)
    options = {OURS[name]: value for name, value in case["options"].items() if name in OURS}
    params = {name: value for name, value in {**case["params"], **options}.items() if name in row.params}
    seen: list[Tensor] = []
    final = row.load()(network, x, sigmas, noise, lambda i, at, sigma, x0: seen.append(at), **params)

    assert len(network.calls) == len(case["model_calls"])
    if case["kind"] == "k":
        np.testing.assert_allclose(network.calls, case["model_calls"], rtol=1e-3 if row.adaptive else 1e-4)
    if case["kind"] == "k" and row.id not in OTHER_CALLBACKS:
        assert len(seen) == len(data["xs"])
        np.testing.assert_allclose(torch.stack(seen), data["xs"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(final, data["final"], rtol=0, atol=1e-3 if row.adaptive else 1e-4)


@pytest.mark.parametrize("case", json.loads((VECTORS / "misc.json").read_text())["img2img_steps"], ids=str)
def test_steps_that_img2img_walks(case: dict[str, Any]) -> None:
    assert [case["steps"], kept_steps(case["steps"], case["denoise"])] == case["result"]
