"""A small classifier of composed pictures: a number to set beside what the eye says of drawn ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.starter import pictures
from training.starter.config import StarterConfig
from training.starter.names import COLOURS

SIDE = 32


def build_judge() -> nn.Sequential:
    """Return a classifier of (b, 3, 32, 32) pictures in -1..1 into the names."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(128 * 16, len(pictures.NAME_LIST)))


def shrunk(x: np.ndarray) -> torch.Tensor:
    """Turn (b, h, w, 3) uint8 pictures into (b, 3, 32, 32) in -1..1."""
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return nn.functional.adaptive_avg_pool2d(pixels, SIDE)


def _labelled(rng: np.random.Generator, sprites: pictures.Sprites, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    names = pictures.taught(sprites.data)
    scenes = [pictures.draw_scene(rng, names) for _ in range(count)]
    x = shrunk(np.stack([pictures.compose(rng, sprites, scene) for scene in scenes]))
    return x, torch.tensor([scene.name for scene in scenes])


def trained_judge(config: StarterConfig, path: Path, steps: int = 1500, batch: int = 64, judged: int = 512) -> tuple[nn.Module, float]:
    """Return the classifier, trained now unless `path` has it, and its hit rate on fresh composed pictures."""
    torch.manual_seed(config.seed + 8)
    judge, sprites = build_judge(), pictures.Sprites(config.data)
    if path.is_file():
        judge.load_state_dict(torch.load(path, weights_only=True))
    else:
        rng = np.random.default_rng(config.seed + 9)
        optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            x, y = _labelled(rng, sprites, batch)
            loss = nn.functional.cross_entropy(judge(x + 0.1 * torch.randn_like(x)), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rates.step()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(judge.state_dict(), path)
    judge.eval()
    x, y = _labelled(np.random.default_rng(config.seed + 10), sprites, judged)
    with torch.no_grad():
        return judge, float((judge(x).argmax(1) == y).float().mean())


@torch.no_grad()
def hits(judge: nn.Module, drawn: np.ndarray, names: list[str]) -> list[bool]:
    """Say for each picture (b, h, w, 3) whether the classifier finds the name it was asked for."""
    found = judge(shrunk(drawn)).argmax(1).tolist()
    return [pictures.NAME_LIST[i] == name for i, name in zip(found, names, strict=True)]


def border_colour(picture: np.ndarray) -> str:
    """Return the named colour nearest to the mean of the picture's outer two pixels."""
    p = picture.astype(np.float32)
    strips = (p[:2], p[-2:], p[:, :2], p[:, -2:])
    mean = np.concatenate([strip.reshape(-1, 3) for strip in strips]).mean(0)
    return min(COLOURS, key=lambda c: float(np.square(mean - np.array(COLOURS[c])).sum()))
