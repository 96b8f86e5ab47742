"""How does it learn? One step after another: some pictures, some noise, what the network makes of it, and how far that is from the truth.

All that is drawn by chance at a step comes from the seed and the step's number. So a training that was stopped and gone on with ends with
the same numbers, to the bit, as one that was left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modules.families.base import Model
from modules.training.captions import caption
from modules.training.learner import Learner

WARM_UP, FLOOR = 0.03, 0.05
"""The step size rises over the first share of the steps, then falls as half a cosine down to this share of itself."""

LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """A picture as latents (C, H, W), float32, and what it shows in words."""

    latent: Tensor
    words: str
    mirrored: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How it is taught."""

    name: str
    lines: tuple[str, ...]
    steps: int
    batch_size: int
    rate: float
    seed: int


class Training:
    """A learner in the middle of its course. The learner must be attached to `model` while it learns."""

    def __init__(self, model: Model, learner: Learner, lessons: Sequence[Lesson], course: Course) -> None:
        self._model = model
        self._learner = learner
        self._lessons = tuple(lessons)
        self._course = course
        self._parameters = list(learner.tensors.values())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=course.rate, betas=(0.9, 0.99), weight_decay=0.0)
        # float16 has no room for small gradients; the losses are scaled up for them on the way
        self._scaler = torch.amp.GradScaler(model.device.type, enabled=model.device.type == "cuda")
        self._sigmas = torch.tensor(model.sigmas, dtype=torch.float32)
        self.step = 0

    def learn(self) -> float:
        """One step; its loss. Raises what a network raises, out of memory among it."""
        course = self._course
        rng = np.random.default_rng([course.seed, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in self._optimizer.param_groups:
            group["lr"] = course.rate * rate_at(self.step / course.steps)
        loss = self._loss(rng, generator)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.step += 1
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as plain values and tensors."""
        tensors = {name: value.detach().cpu().clone() for name, value in self._learner.tensors.items()}
        return {"step": self.step, "tensors": tensors, "optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was. Raises KeyError, ValueError or RuntimeError for a state of something else."""
        with torch.no_grad():
            for name, value in self._learner.tensors.items():
                value.copy_(state["tensors"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.step = int(state["step"])

    def _loss(self, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """The squared error of the network's own output (eps or v), evenly weighted over times."""
        course, model = self._course, self._model
        lessons = self._chosen(rng)
        x0 = torch.stack([lesson.latent if lesson.mirrored is None or rng.random() < 0.5 else lesson.mirrored for lesson in lessons])
        captions = [caption(rng, course.lines, course.name, lesson.words) for lesson in lessons]
        noise = torch.randn(x0.shape, generator=generator)
        levels = spread_levels(rng, len(lessons), len(self._sigmas))
        x0, noise = x0.to(model.device), noise.to(model.device)
        sigmas = self._sigmas[levels].to(model.device)[:, None, None, None]
        output = model.own_output(x0 + sigmas * noise, levels.tolist(), self._learner.conditionings(model, captions))
        return F.mse_loss(output, wanted_output(model.facts.prediction, x0, noise, sigmas))

    def _chosen(self, rng: np.random.Generator) -> list[Lesson]:
        """The step's pictures: each of all as often as the others, in an order that chance makes anew for each round."""
        count, size = len(self._lessons), self._course.batch_size
        chosen: list[Lesson] = []
        for place in range(self.step * size, (self.step + 1) * size):
            order = np.random.default_rng([self._course.seed, 7, place // count]).permutation(count)
            chosen.append(self._lessons[int(order[place % count])])
        return chosen


def rate_at(progress: float) -> float:
    """The share of the step size at `progress` (0..1)."""
    if progress < WARM_UP:
        return max(progress, 1e-3) / WARM_UP
    turn = min(1.0, (progress - WARM_UP) / (1.0 - WARM_UP))
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * turn))


def spread_levels(rng: np.random.Generator, count: int, levels: int) -> Tensor:
    """(count,) noise levels, one from each equal part of the schedule: less chance in the loss than free draws."""
    return torch.from_numpy(((rng.permutation(count) + rng.random(count)) / count * levels).astype(np.int64))


def wanted_output(prediction: str, x0: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """What the network should say: the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022, arXiv:2202.00512)."""
    if prediction != "v":
        return noise
    alphas = torch.rsqrt(1.0 + sigmas.square())
    return alphas * noise - sigmas * alphas * x0


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state beside the old one, then put it in its place. Raises OSError; then the old one is as it was, and nothing beside it."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
        part.replace(path)
    except RuntimeError as error:
        # PyTorch's writer hides the file's own error, of a full disk for instance, behind one about positions
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise
    finally:
        part.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any] | None:
    """The state in the file; None where there is none, or none that can be read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError):
        return None
    except Exception as error:  # what the unpickler raises for damaged files has no common name
        if type(error).__module__ not in ("_pickle", "pickle"):
            raise
        return None
    return state if isinstance(state, dict) else None
