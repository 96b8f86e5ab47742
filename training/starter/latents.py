"""Second stage: a cache of pictures as latents, with what each shows, so that the denoiser never waits for the VAE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from training.starter import pictures
from training.starter.config import DataConfig, StarterConfig
from training.starter.precision import FULL, Precision, precision_of
from training.starter.scenes import Scene, draw_composition, taught

SCALE_FACTOR = 0.18215  # SD1's; `standardise` makes it the right one for this autoencoder
CHUNK = 64


@dataclass(frozen=True)
class Bucket:
    """Latents (n, c, h, w) float16 of pictures of one shape, already times SCALE_FACTOR, and what they show: (n, 5) of `Scene.row`."""

    latents: np.ndarray
    scenes: np.ndarray


Shape = tuple[int, int]


@torch.no_grad()
def standardise(vae: AutoencoderKL, config: StarterConfig, count: int = 512) -> None:
    """Give every latent channel mean 0 and deviation 1 / SCALE_FACTOR over pictures, changing no decoded pixel.

    `quant_conv` and `post_quant_conv` are 1x1, so a shift and a scale per channel fold into their weights exactly.
    Pure noise, where sampling starts, then has the statistics of real latents, and tools that assume SD1's
    factor are right.
    """
    rng, sprites, names = np.random.default_rng(config.seed + 11), pictures.Sprites(config.data), taught(config.data)
    scenes = [draw_composition(rng, config.data, names) for _ in range(count)]
    means = _encode(vae, np.stack([pictures.compose(rng, sprites, scene) for scene in scenes]))
    flat = means.permute(1, 0, 2, 3).flatten(1).double()
    shift, spread = flat.mean(1), flat.std(1)
    factor = 1.0 / (spread * SCALE_FACTOR)
    rescale(vae, shift, factor)


@torch.no_grad()
def rescale(vae: AutoencoderKL, shift: torch.Tensor, factor: torch.Tensor) -> None:
    """Make each latent (x - shift) * factor, both (c,), in the two 1x1 convolutions around the latents; decoded pixels stay as they are."""
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


def lesson(config: StarterConfig, sprites: pictures.Sprites, chunk: int, shape: Shape) -> tuple[np.ndarray, list[Scene]]:
    """Return CHUNK pictures (n, h, w, 3) uint8 of a shape and their scenes; they depend on the seed, the chunk and the shape alone."""
    native = shape == (config.data.size, config.data.size)
    rng, names = np.random.default_rng([config.seed, chunk, *(() if native else shape)]), taught(config.data)
    scenes = [draw_composition(rng, config.data, names) for _ in range(CHUNK)]
    return np.stack([pictures.compose(rng, sprites, scene, shape) for scene in scenes]), scenes


@torch.no_grad()
def _encode(vae: AutoencoderKL, x: np.ndarray, precision: Precision = FULL) -> torch.Tensor:
    """Return the latent means (n, c, h / 8, w / 8) float32 of pictures (n, h, w, 3) uint8, on the CPU."""
    device = next(vae.parameters()).device
    means: list[torch.Tensor] = []
    for part in torch.from_numpy(x).split(16 if device.type == "cpu" else 64):
        pixels = part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with precision():
            means.append(vae.encode(pixels).latent_dist.mean.float().cpu())
    return torch.cat(means)


def buckets(data: DataConfig, total: int) -> dict[Shape, int]:
    """Return how many of `total` pictures are of each shape, in whole chunks; the native shape is the first."""
    odd = -(-round(total * data.shaped / max(1, len(data.shapes))) // CHUNK) * CHUNK if data.shapes else 0
    native = max(1, -(-(total - odd * len(data.shapes)) // CHUNK)) * CHUNK
    return {(data.size, data.size): native, **dict.fromkeys(data.shapes, odd)}


def build_cache(vae: AutoencoderKL, config: StarterConfig, folder: Path) -> list[Bucket]:
    """Fill (or go on filling) the cache in `folder`, a bucket for each shape."""
    return [
        _build_bucket(vae, config, folder / f"{shape[1]}x{shape[0]}", shape, n)
        for shape, n in buckets(config.data, config.unet.latents).items()
    ]


def _build_bucket(vae: AutoencoderKL, config: StarterConfig, folder: Path, shape: Shape, total: int) -> Bucket:
    folder.mkdir(parents=True, exist_ok=True)
    size = (total, config.vae.latent_channels, shape[0] // config.factor, shape[1] // config.factor)
    progress = folder / "progress.json"
    done = json.loads(progress.read_text("utf-8"))["chunks"] if progress.is_file() else 0
    mode = "r+" if done else "w+"
    latents = np.lib.format.open_memmap(folder / "latents.npy", mode=mode, dtype=np.float16, shape=size)
    scenes = np.lib.format.open_memmap(folder / "scenes.npy", mode=mode, dtype=np.int16, shape=(total, len(Scene(0, 0).row())))
    sprites, precision = pictures.Sprites(config.data), precision_of(config)
    vae.eval()
    for chunk in range(done, total // CHUNK):
        x, shown = lesson(config, sprites, chunk, shape)
        span = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        latents[span] = (_encode(vae, x, precision) * SCALE_FACTOR).numpy().astype(np.float16)
        scenes[span] = [scene.row() for scene in shown]
        if chunk % 16 == 15 or chunk == total // CHUNK - 1:
            _note(progress, chunk + 1, latents, scenes)
            print(f"latents {folder.name}: {(chunk + 1) * CHUNK} of {total}", flush=True)
    return Bucket(latents, scenes)


def _note(progress: Path, chunks: int, *arrays: np.memmap) -> None:
    """Say how far the arrays on disk are good."""
    for array in arrays:
        array.flush()
    part = progress.with_suffix(".part")
    part.write_text(json.dumps({"chunks": chunks}), encoding="utf-8")
    part.replace(progress)
