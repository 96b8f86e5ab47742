"""An independent reader of pictures: which objects are in them, and where? A number to set beside what the eye says of drawn ones.

It learns from renderings that the checkpoint never saw: other sizes, places and backgrounds, blurred and noisy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import nn

from training.starter import pictures
from training.starter.config import DataConfig, StarterConfig
from training.starter.names import COLOURS
from training.starter.scenes import BESIDE, LAYOUTS, NAME_LIST, NOTHING, Scene, draw_composition, taught

SIDE = 64


class Judge(nn.Module):
    """A classifier of (b, 3, 64, 64) pictures in -1..1 with three answers: first object, second object (or none), layout.

    The first object is the left one, the upper one, or the only kind there is.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(128 * 64, 384), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(384, size) for size in (len(NAME_LIST), len(NAME_LIST) + 1, len(LAYOUTS)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the scores of each answer, (b, classes) each."""
        seen = self.body(x)
        return tuple(head(seen) for head in self.heads)


@dataclass(frozen=True)
class Verdict:
    """What is seen in a picture: the likeliest first objects, best first; the second one (NOTHING: none); the layout."""

    first: tuple[int, ...]
    second: int
    layout: int

    @property
    def objects(self) -> set[int]:
        """The objects that are seen, wherever they are."""
        return {self.first[0]} | ({self.second} - {NOTHING})

    def sees(self, scene: Scene) -> bool:
        """Whether all of it is as in the scene."""
        return (self.first[0], self.second, self.layout) == (scene.name, scene.other, scene.layout)


def shrunk(x: np.ndarray) -> torch.Tensor:
    """Turn (b, h, w, 3) uint8 pictures into (b, 3, 64, 64) in -1..1."""
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return nn.functional.interpolate(pixels, (SIDE, SIDE), mode="area")


def unseen(data: DataConfig) -> DataConfig:
    """Return how the judge's own pictures are composed: objects of other sizes, in other places, on other shades."""
    sizes = tuple(round(share * data.size) for share in (0.72, 0.77, 0.82, 0.87))
    return replace(data, styled=0.0, object_sizes=sizes, shift=max(1, data.size // 14), colour_jitter=24, gradient=0.6)


def disturbed(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Return a picture blurred by chance, with some noise."""
    soft = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 1.6)))), dtype=np.float32)
    return np.clip(soft + rng.normal(0, float(rng.uniform(0, 10)), soft.shape), 0, 255).astype(np.uint8)


def held_out(rng: np.random.Generator, sprites: pictures.Sprites, count: int) -> tuple[torch.Tensor, list[Scene]]:
    """Return pictures (count, 3, 64, 64) of scenes, rendered as training never does."""
    names = taught(sprites.data)
    scenes = [draw_composition(rng, sprites.data, names) for _ in range(count)]
    return shrunk(np.stack([disturbed(rng, pictures.compose(rng, sprites, scene)) for scene in scenes])), scenes


def judging_loss(judge: Judge, x: torch.Tensor, scenes: list[Scene]) -> torch.Tensor:
    """Return the cross entropies of the three answers, together."""
    wanted = ([s.name for s in scenes], [len(NAME_LIST) if s.other == NOTHING else s.other for s in scenes], [s.layout for s in scenes])
    scored = zip(judge(x), wanted, strict=True)
    return torch.stack([nn.functional.cross_entropy(scores, torch.tensor(classes)) for scores, classes in scored]).sum()


def trained_judge(config: StarterConfig, path: Path, steps: int = 3000, batch: int = 64, judged: int = 1024) -> tuple[Judge, float]:
    """Return the classifier, trained now unless `path` has it, and the share of fresh held-out pictures of which it sees all."""
    torch.manual_seed(config.seed + 8)
    judge, sprites = Judge(), pictures.Sprites(unseen(config.data))
    if path.is_file():
        judge.load_state_dict(torch.load(path, weights_only=True))
    else:
        rng = np.random.default_rng(config.seed + 9)
        optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            loss = judging_loss(judge, *held_out(rng, sprites, batch))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rates.step()
            if step % 250 == 249:
                print(f"judge: step {step + 1} of {steps}, loss {float(loss):.3f}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(judge.state_dict(), path)
    judge.eval()
    x, scenes = held_out(np.random.default_rng(config.seed + 10), sprites, judged)
    return judge, float(np.mean([verdict.sees(scene) for verdict, scene in zip(_read(judge, x), scenes, strict=True)]))


def verdicts(judge: Judge, drawn: np.ndarray) -> list[Verdict]:
    """Say what is seen in each picture of (b, h, w, 3)."""
    return _read(judge, shrunk(drawn))


@torch.no_grad()
def _read(judge: Judge, x: torch.Tensor) -> list[Verdict]:
    first, second, layout = judge(x)
    return [
        Verdict(tuple(best), NOTHING if other == len(NAME_LIST) else other, placed)
        for best, other, placed in zip(first.topk(5).indices.tolist(), second.argmax(1).tolist(), layout.argmax(1).tolist(), strict=True)
    ]


def border_colour(picture: np.ndarray) -> str:
    """Return the named colour nearest to the mean of the picture's outer two pixels."""
    p = picture.astype(np.float32)
    strips = (p[:2], p[-2:], p[:, :2], p[:, -2:])
    mean = np.concatenate([strip.reshape(-1, 3) for strip in strips]).mean(0)
    return min(COLOURS, key=lambda c: float(np.square(mean - np.array(COLOURS[c])).sum()))


def in_place(verdict: Verdict, scene: Scene) -> bool:
    """Whether two objects are where the scene has them, given that both are seen."""
    return verdict.sees(scene) if scene.layout >= BESIDE else verdict.layout == scene.layout
