"""What did the picture look like on the way? Keeps the latents of some steps, and decodes them once the picture is there."""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image
from torch import Tensor

from modules.domain.plans import ImagePlan
from modules.domain.requests import Film
from modules.domain.results import frame_kind
from modules.engine.generate import decode
from modules.families.base import LoadedModel
from modules.sampling.types import StepCallback

Frames = tuple[tuple[str, Image.Image], ...]


class FilmRoll:
    """A `StepCallback` around another one: of a batch's first picture it keeps what `film` asks for, of evenly spread steps."""

    def __init__(self, film: Film | None, steps: int, then: StepCallback) -> None:
        self._film = film
        self._then = then
        count = min(film.frames, steps) if film else 0
        self._wanted = {round(index * (steps - 1) / max(1, count - 1)) for index in range(count)}
        self._kept: dict[int, Tensor] = {}

    def __call__(self, i: int, x: Tensor, sigma: float, denoised: Tensor) -> None:
        if self._film is not None and i in self._wanted:
            # The network's own view of noise: x is the picture plus sigma times noise, which no decoder has ever seen.
            shown = x[0] / math.sqrt(1.0 + sigma**2) if self._film.noisy else denoised[0]
            self._kept[i] = shown.clone()
        self._then(i, x, sigma, denoised)

    def frames(self, plan: ImagePlan, model: LoadedModel, stage: Callable[[str], None]) -> Frames:
        """The kept latents as pictures, by kind, in the order of the steps. Raises as `generate.decode` does."""
        found: list[tuple[str, Image.Image]] = []
        for number, (i, latent) in enumerate(sorted(self._kept.items()), 1):
            stage(f"Decoding frame {number} of {len(self._kept)}")
            found.append((frame_kind(i + 1), Image.fromarray(decode(plan, model, latent))))
        return tuple(found)
