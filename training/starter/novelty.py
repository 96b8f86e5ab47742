"""Does the checkpoint copy its lessons? How far drawn scenes are from the nearest training picture, beside how far new compositions are."""

from __future__ import annotations

import numpy as np
import torch

from training.starter.config import StarterConfig
from training.starter.latents import CHUNK, buckets, lesson
from training.starter.pictures import Sprites

SIDE = 16
COPY = 0.03  # a root mean square difference, of 1, below which two small pictures are the same


def novelty(config: StarterConfig, drawn: np.ndarray, lessons: int = 6144, fresh: int = 64) -> dict[str, float]:
    """Return how far pictures (b, h, w, 3) are from the nearest of the first `lessons` training pictures.

    Distances are root mean square differences of pictures shrunk to 16x16, of 1; the median is given, that of fresh compositions of the
    same kind, and the share of copies.
    """
    native = (config.data.size, config.data.size)
    sprites, count = Sprites(config.data), min(lessons, buckets(config.data, config.unet.latents)[native])
    known = _small(np.concatenate([lesson(config, sprites, chunk, native)[0] for chunk in range(-(-count // CHUNK))]))
    new = lesson(config, sprites, 1_000_000, native)[0][:fresh]
    made, unseen = _nearest(_small(drawn), known), _nearest(_small(new), known)
    return {
        "nearest_lesson": round(float(np.median(made)), 3),
        "nearest_lesson_of_new_compositions": round(float(np.median(unseen)), 3),
        "copies": round(float(np.mean(made < COPY)), 3),
    }


def _small(pictures: np.ndarray) -> torch.Tensor:
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255.0
    return torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="area").flatten(1)


def _nearest(pictures: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    return (torch.cdist(pictures, known).min(1).values / known.shape[1] ** 0.5).numpy()
