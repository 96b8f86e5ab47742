"""Teaches a small network to double pictures of the starter's kind: `python -m training.starter.train_upscaler`.

A compact SRVGG, which spandrel loads like any other file in models/ESRGAN. The same command goes on where a killed run was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from torch import nn

from training.starter import pictures, scenes
from training.starter.config import HERE, PRESETS, REPO, StarterConfig
from training.starter.state import Stage

FILE = REPO / "models" / "ESRGAN" / "starter-x2.safetensors"
SCALE = 2
HELD_OUT = 1000


@dataclass(frozen=True)
class UpscalerTraining:
    """Its size, and how it is trained."""

    features: int = 32
    convolutions: int = 10
    crop: int = 64  # of the large picture
    batch: int = 16
    steps: int = 4000
    minutes: float = 0.0
    lr: float = 2e-3
    ema: float = 0.998


def build_upscaler(training: UpscalerTraining) -> Compact:
    """Return the network: (b, 3, h, w) in 0..1 -> (b, 3, 2h, 2w)."""
    return Compact(num_feat=training.features, num_conv=training.convolutions, upscale=SCALE, act_type="prelu")


def halved(picture: np.ndarray, how: Image.Resampling) -> np.ndarray:
    """Return the (h, w, 3) uint8 picture at half its size."""
    return np.asarray(Image.fromarray(picture).resize((picture.shape[1] // SCALE, picture.shape[0] // SCALE), how))


def pair(rng: np.random.Generator, sprites: pictures.Sprites) -> tuple[np.ndarray, np.ndarray]:
    """Return a large picture and the small one that is to become it. Small pictures come about in more ways than one."""
    large = pictures.compose(rng, sprites, scenes.draw_scene(rng))
    ways = (Image.Resampling.LANCZOS, Image.Resampling.BOX, Image.Resampling.BICUBIC)
    return large, halved(large, ways[int(rng.integers(len(ways)))])


def crops(
    rng: np.random.Generator, config: StarterConfig, sprites: pictures.Sprites, training: UpscalerTraining
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return large crops (b, 3, c, c) and the small ones (b, 3, c/2, c/2) that are to become them, in 0..1."""
    size, side = config.data.size, training.crop
    large = np.empty((training.batch, side, side, 3), dtype=np.uint8)
    small = np.empty((training.batch, side // SCALE, side // SCALE, 3), dtype=np.uint8)
    for i in range(training.batch):
        whole, half = pair(rng, sprites)
        top, left = (int(rng.integers(0, (size - side) // SCALE + 1)) for _ in range(2))
        large[i] = whole[top * SCALE : top * SCALE + side, left * SCALE : left * SCALE + side]
        small[i] = half[top : top + side // SCALE, left : left + side // SCALE]
    return as_tensor(large), as_tensor(small)


def as_tensor(batch: np.ndarray) -> torch.Tensor:
    """Return (b, h, w, 3) bytes as (b, 3, h, w) in 0..1."""
    return torch.from_numpy(np.array(batch)).permute(0, 3, 1, 2).float() / 255.0


def train_upscaler(config: StarterConfig, training: UpscalerTraining, folder: Path) -> Compact:
    """Train (or take up) the network in `folder` and return its averaged weights."""
    torch.manual_seed(config.seed + 20)
    model = build_upscaler(training)
    stage = Stage(
        "upscaler",
        model,
        folder,
        lr=training.lr,
        ema=training.ema,
        steps=training.steps,
        minutes=training.minutes,
        seed=config.seed + 21,
        log_every=100,
    )
    stage.resume()
    sprites = pictures.Sprites(config.data)

    def loss_of(stage: Stage) -> torch.Tensor:
        large, small = crops(stage.rng, config, sprites, training)
        return nn.functional.l1_loss(model(small), large)

    stage.run(loss_of)
    averaged = build_upscaler(training)
    averaged.load_state_dict(stage.averaged())
    return averaged.eval()


def measured(model: nn.Module, config: StarterConfig, count: int = 40) -> dict[str, float]:
    """Return how near doubled held-out pictures come to the large ones, in dB PSNR: the network's, and Lanczos'."""
    rng = np.random.default_rng([config.seed, HELD_OUT])
    sprites = pictures.Sprites(config.data)
    ours, lanczos = 0.0, 0.0
    for _ in range(count):
        large = pictures.compose(rng, sprites, scenes.draw_scene(rng))
        small = halved(large, Image.Resampling.LANCZOS)
        with torch.no_grad():
            made = model(as_tensor(small[None]))[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
        plain = np.asarray(Image.fromarray(small).resize((large.shape[1], large.shape[0]), Image.Resampling.LANCZOS))
        ours += decibels(made, large) / count
        lanczos += decibels(plain, large) / count
    return {"network_db": round(ours, 2), "lanczos_db": round(lanczos, 2), "pictures": count}


def decibels(made: np.ndarray, wanted: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of pictures of 0..255."""
    return float(10 * np.log10(255.0**2 / max(1e-9, np.mean((made.astype(float) - wanted.astype(float)) ** 2))))


def main() -> None:
    """Train, measure, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "upscaler", help="folder of the run")
    parser.add_argument("--file", type=Path, default=FILE, help="where the upscaler goes")
    parser.add_argument("--minutes", type=float, default=0.0, help="train by the clock, not by steps")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = PRESETS["cpu128"]
    model = train_upscaler(config, UpscalerTraining(minutes=args.minutes), args.run)
    print(json.dumps(measured(model, config)))
    metadata = {
        "modelspec.title": "diffusion-webui starter upscaler x2",
        "modelspec.license": "Apache-2.0",
        "training_data": "Pictures composed from Noto Color Emoji, Copyright Google LLC, SIL Open Font License 1.1",
    }
    args.file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, args.file, metadata=metadata)
    args.file.chmod(0o644)
    print(f"wrote {args.file.name}, {args.file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
