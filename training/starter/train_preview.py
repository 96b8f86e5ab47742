"""Teaches a small decoder to show the starter's latents while they are drawn: `python -m training.starter.train_preview`.

It has TAESD's architecture with half of its width, learns from the autoencoder's own decoded pictures, and is used for live previews.
The same command goes on where a killed run was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from safetensors.torch import save_file

from training.starter import pictures
from training.starter.config import DEFAULT_FILE, HERE, PRESETS, REPO, StarterConfig
from training.starter.latents import SCALE_FACTOR
from training.starter.precision import precision_of
from training.starter.sampling import Networks, encoded, read_checkpoint
from training.starter.scenes import draw_composition, taught
from training.starter.state import Stage
from training.starter.train_vae import picture_loss, psnr

FILE = REPO / "models" / "VAE-approx" / "starter_decoder.safetensors"
BLOCKS = (3, 3, 3, 1)
HELD_OUT = 93


@dataclass(frozen=True)
class PreviewTraining:
    """How it is trained."""

    width: int = 32
    batch: int = 8
    steps: int = 4000
    minutes: float = 0.0
    lr: float = 2e-3
    edge: float = 0.5
    ema: float = 0.995
    soft: float = 0.3  # most noise on the latents, of their deviation: a picture in the making is not a finished one


def build_decoder(config: StarterConfig, width: int) -> DecoderTiny:
    """Return a decoder of (b, c, s, s) latents into (b, 3, 8 s, 8 s) pictures in -1..1."""
    return DecoderTiny(config.vae.latent_channels, 3, BLOCKS, (width,) * len(BLOCKS), 2, "relu", "nearest")


def lesson(rng: np.random.Generator, config: StarterConfig, nets: Networks, sprites: pictures.Sprites, count: int) -> torch.Tensor:
    """Return latents (count, c, s, s) of composed pictures, in the scale that the denoiser sees."""
    names = taught(config.data)
    return encoded(nets, np.stack([pictures.compose(rng, sprites, draw_composition(rng, config.data, names)) for _ in range(count)]))


def train_preview(config: StarterConfig, training: PreviewTraining, nets: Networks, folder: Path) -> DecoderTiny:
    """Train (or take up) the decoder in `folder` and return it with its averaged weights."""
    torch.manual_seed(config.seed + 13)
    decoder, sprites = build_decoder(config, training.width), pictures.Sprites(config.data)
    stage = Stage(
        "preview",
        decoder,
        folder,
        lr=training.lr,
        ema=training.ema,
        steps=training.steps,
        minutes=training.minutes,
        seed=config.seed + 14,
        log_every=config.log_every,
        muon=True,
    )
    stage.resume()
    precision = precision_of(config)

    def loss_of(stage: Stage) -> torch.Tensor:
        with torch.no_grad(), precision():
            latents = lesson(stage.rng, config, nets, sprites, training.batch).float()
            wanted = nets.vae.decode(latents / SCALE_FACTOR).sample.float()
        noise = torch.randn(latents.shape, generator=stage.generator)
        amount = training.soft * torch.rand((len(latents), 1, 1, 1), generator=stage.generator)
        with precision():
            made = decoder(latents + amount * noise)
        return picture_loss(made.float(), wanted, training.edge)

    stage.run(loss_of)
    decoder.load_state_dict(stage.averaged())
    return decoder.eval()


@torch.no_grad()
def measured(decoder: DecoderTiny, nets: Networks, config: StarterConfig, count: int = 40) -> dict[str, float]:
    """Return the mean PSNR, in dB, of its pictures beside the autoencoder's, for compositions that it never saw."""
    latents = lesson(np.random.default_rng([config.seed, HELD_OUT]), config, nets, pictures.Sprites(config.data), count)
    wanted = torch.cat([nets.vae.decode(part / SCALE_FACTOR).sample for part in latents.split(8)]).clamp(-1, 1)
    likeness = psnr(decoder(latents).clamp(-1, 1), wanted).mean()
    return {"beside_autoencoder_db": round(float(likeness), 2), "pictures": count}


def main() -> None:
    """Train, measure, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="styles128", help="the checkpoint's own")
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "preview", help="folder of the run")
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_FILE, help="the checkpoint whose latents it shows")
    parser.add_argument("--file", type=Path, default=FILE, help="where the decoder goes")
    parser.add_argument("--minutes", type=float, default=0.0, help="train by the clock, not by steps")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = PRESETS[args.preset]
    nets = read_checkpoint(config, args.checkpoint)
    decoder = train_preview(config, PreviewTraining(minutes=args.minutes), nets, args.run)
    print(json.dumps(measured(decoder, nets, config)))
    metadata = {
        "modelspec.title": "diffusion-webui starter preview decoder",
        "modelspec.license": "Apache-2.0",
        "training_data": "Pictures composed from Noto Color Emoji, Copyright Google LLC, SIL Open Font License 1.1",
    }
    args.file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.to(torch.float16).contiguous() for name, tensor in decoder.state_dict().items()}, args.file, metadata=metadata)
    args.file.chmod(0o644)
    print(f"wrote {args.file.name}, {args.file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
