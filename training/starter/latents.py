"""Second stage: a cache of pictures as latents, with what each shows, so that the denoiser never waits for the VAE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from training.starter import pictures
from training.starter.config import StarterConfig
from training.starter.scenes import draw_composition, taught

SCALE_FACTOR = 0.18215  # SD1's; `standardise` makes it the right one for this autoencoder
CHUNK = 64


@dataclass(frozen=True)
class Cache:
    """Latents (n, c, s, s) float16, already times SCALE_FACTOR, and (n, 4) of name, ground, layout and other object (`Scene.row`)."""

    latents: np.ndarray
    scenes: np.ndarray


@torch.no_grad()
def standardise(vae: AutoencoderKL, config: StarterConfig, count: int = 512) -> None:
    """Give every latent channel mean 0 and deviation 1 / SCALE_FACTOR over pictures, changing no decoded pixel.

    `quant_conv` and `post_quant_conv` are 1x1, so a shift and a scale per channel fold into their weights exactly.
    Pure noise, where sampling starts, then has the statistics of real latents, and tools that assume SD1's
    factor are right.
    """
    means = _encode(vae, config, np.random.default_rng(config.seed + 11), pictures.Sprites(config.data), count)[0]
    flat = means.permute(1, 0, 2, 3).flatten(1).double()
    shift, spread = flat.mean(1), flat.std(1)
    factor = 1.0 / (spread * SCALE_FACTOR)
    n = len(shift)
    assert vae.quant_conv is not None and vae.post_quant_conv is not None
    device, kind = vae.quant_conv.weight.device, vae.quant_conv.weight.dtype
    weight, bias = vae.quant_conv.weight.double().cpu(), vae.quant_conv.bias.double().cpu()
    weight[:n] *= factor[:, None, None, None]
    bias[:n] = (bias[:n] - shift) * factor
    bias[n:] += 2 * factor.log()  # the second half says the logarithm of the variance
    vae.quant_conv.weight.copy_(weight.to(device, kind))
    vae.quant_conv.bias.copy_(bias.to(device, kind))
    weight, bias = vae.post_quant_conv.weight.double().cpu(), vae.post_quant_conv.bias.double().cpu()
    bias = bias + (weight[:, :, 0, 0] * shift).sum(1)
    weight = weight / factor[None, :, None, None]
    vae.post_quant_conv.weight.copy_(weight.to(device, kind))
    vae.post_quant_conv.bias.copy_(bias.to(device, kind))


def _encode(
    vae: AutoencoderKL, config: StarterConfig, rng: np.random.Generator, sprites: pictures.Sprites, count: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Compose `count` pictures; return their latent means (count, c, s, s) on the CPU and their scenes (count, 4)."""
    names = taught(config.data)
    scenes = [draw_composition(rng, config.data, names) for _ in range(count)]
    x = np.stack([pictures.compose(rng, sprites, scene) for scene in scenes])
    device = next(vae.parameters()).device
    means: list[torch.Tensor] = []
    with torch.no_grad():
        for part in torch.from_numpy(x).split(16 if device.type == "cpu" else 64):
            pixels = part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
            means.append(vae.encode(pixels).latent_dist.mean.cpu())
    return torch.cat(means), np.array([scene.row() for scene in scenes], dtype=np.int16)


def build_cache(vae: AutoencoderKL, config: StarterConfig, folder: Path) -> Cache:
    """Fill (or go on filling) the cache in `folder`; chunk i depends on the seed and i alone."""
    folder.mkdir(parents=True, exist_ok=True)
    total = -(-config.unet.latents // CHUNK) * CHUNK
    side, channels = config.latent_size, config.vae.latent_channels
    progress = folder / "progress.json"
    done = json.loads(progress.read_text("utf-8"))["chunks"] if progress.is_file() else 0
    mode = "r+" if done else "w+"
    latents = np.lib.format.open_memmap(folder / "latents.npy", mode=mode, dtype=np.float16, shape=(total, channels, side, side))
    scenes = np.lib.format.open_memmap(folder / "scenes.npy", mode=mode, dtype=np.int16, shape=(total, 4))
    sprites = pictures.Sprites(config.data)
    vae.eval()
    for chunk in range(done, total // CHUNK):
        rng = np.random.default_rng([config.seed, chunk])
        means, shown = _encode(vae, config, rng, sprites, CHUNK)
        span = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        latents[span] = (means * SCALE_FACTOR).numpy().astype(np.float16)
        scenes[span] = shown
        if chunk % 16 == 15 or chunk == total // CHUNK - 1:
            _note(progress, chunk + 1, latents, scenes)
            print(f"latents: {(chunk + 1) * CHUNK} of {total}", flush=True)
    return Cache(latents[:total], scenes[:total])


def _note(progress: Path, chunks: int, *arrays: np.memmap) -> None:
    """Say how far the arrays on disk are good."""
    for array in arrays:
        array.flush()
    part = progress.with_suffix(".part")
    part.write_text(json.dumps({"chunks": chunks}), encoding="utf-8")
    part.replace(progress)
