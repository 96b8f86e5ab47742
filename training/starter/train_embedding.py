"""Teaches the finished starter checkpoint a word from five pictures, as a textual inversion: `python -m training.starter.train_embedding`.

Only the word's vectors learn; the checkpoint was never shown the thing. The same command goes on where a killed run was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from training.starter import pictures, scenes
from training.starter.config import DEFAULT_FILE, HERE, PRESETS, REPO, StarterConfig
from training.starter.latents import SCALE_FACTOR
from training.starter.noise_schedule import alphas_cumprod
from training.starter.precision import precision_of
from training.starter.sampling import Networks, read_checkpoint
from training.starter.state import Stage
from training.starter.tokens import padded, words_to_ids
from training.starter.train_unet import denoising_loss, spread_times

THING = "taxi"
FILE = REPO / "embeddings" / f"starter-{THING}.safetensors"
BACKGROUNDS = ("white", "sky blue", "green", "pink", "yellow")
TEMPLATES = ("a {w}", "{w}", "a picture of a {w}")
PLACE = 1000
"""A token that stands where a vector goes; which one does not matter, as its own row is never read."""


@dataclass(frozen=True)
class EmbeddingTraining:
    """How it is trained."""

    vectors: int = 6
    batch: int = 10
    steps: int = 600
    lr: float = 2e-2
    ema: float = 0.97


class Word(nn.Module):
    """The vectors of a new word, (n, width), read by a checkpoint's text encoder in place of `PLACE`; only they learn."""

    def __init__(self, nets: Networks, count: int) -> None:
        super().__init__()
        self.frozen: tuple[Any, Any] = (nets.unet.requires_grad_(False), nets.text.requires_grad_(False))
        table = nets.text.get_input_embeddings()
        start = table.weight[words_to_ids("car")[0]].detach()
        self.vectors = nn.Parameter(start + 0.1 * torch.randn(count, len(start)) * start.std())
        table.register_forward_hook(self._replaced)

    def _replaced(self, _: nn.Module, inputs: tuple[torch.Tensor, ...], rows: torch.Tensor) -> torch.Tensor:
        places = inputs[0] == PLACE
        return rows.masked_scatter(places[..., None], self.vectors.repeat(len(rows), 1).to(rows.dtype)) if places.any() else rows

    def forward(self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Predict for noisy latents (b, c, s, s) at times (b,) with words (b, 77), each of which holds the new word once."""
        unet, text = self.frozen
        return unet(x, t, encoder_hidden_states=text(input_ids=ids).last_hidden_state).sample


def examples(config: StarterConfig, nets: Networks) -> torch.Tensor:
    """Return the latents (5, c, s, s) of five pictures of the thing."""
    rng = np.random.default_rng([config.seed, 93])
    sprites, name = pictures.Sprites(config.data), scenes.NAME_LIST.index(THING)
    shown = [scenes.Scene(name, scenes.COLOUR_LIST.index(colour)) for colour in BACKGROUNDS]
    pixels = np.stack([pictures.compose(rng, sprites, scene) for scene in shown])
    with torch.no_grad():
        return nets.vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0).latent_dist.mean * SCALE_FACTOR


def caption_ids(rng: np.random.Generator, colour: str, vectors: int) -> np.ndarray:
    """Return (77,) ids of a caption with the word's places in it."""
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))] + ("" if rng.random() < 0.4 else f" on a {colour} background")
    before, after = template.split("{w}")
    return padded([*words_to_ids(before), *([PLACE] * vectors), *words_to_ids(after)])


def train_embedding(config: StarterConfig, training: EmbeddingTraining, checkpoint: Path, folder: Path) -> torch.Tensor:
    """Train (or take up) the word in `folder` and return its averaged vectors (n, width)."""
    torch.manual_seed(config.seed + 30)
    nets = read_checkpoint(config, checkpoint)
    latents = examples(config, nets)
    model = Word(nets, training.vectors)
    stage = Stage("embedding", model, folder, lr=training.lr, ema=training.ema, steps=training.steps, seed=config.seed + 31)
    stage.resume()
    alphas, precision = alphas_cumprod(), precision_of(config)

    def loss_of(stage: Stage) -> torch.Tensor:
        rows = np.arange(training.batch) % len(latents)
        ids = np.stack([caption_ids(stage.rng, BACKGROUNDS[row], training.vectors) for row in rows])
        x = latents[rows]
        noise = torch.randn(x.shape, generator=stage.generator)
        t = spread_times(stage.rng, len(rows))
        return denoising_loss(model, x, torch.from_numpy(ids), t, noise, alphas, config.unet.prediction, precision)

    stage.run(loss_of)
    return stage.averaged()["vectors"]


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "embedding", help="folder of the run")
    parser.add_argument("--file", type=Path, default=FILE, help="where the embedding goes")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    vectors = train_embedding(PRESETS["cpu128"], EmbeddingTraining(), DEFAULT_FILE, args.run)
    metadata = {
        "modelspec.title": THING,
        "modelspec.license": "Apache-2.0",
        "training_data": "Five pictures composed from Noto Color Emoji, Copyright Google LLC, SIL Open Font License 1.1",
    }
    args.file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": vectors.contiguous()}, args.file, metadata=metadata)
    args.file.chmod(0o644)
    print(f"wrote {args.file.name}, {args.file.stat().st_size / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
