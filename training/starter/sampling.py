"""Draws pictures with an exported checkpoint, read back by diffusers' own converters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils as reader
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel

from training.starter.config import StarterConfig
from training.starter.latents import SCALE_FACTOR
from training.starter.ldm_keys import TEXT_PREFIX
from training.starter.models import build_text, build_unet, build_vae
from training.starter.noise_schedule import LINEAR_END, LINEAR_START, TIMESTEPS
from training.starter.tokens import padded, words_to_ids


@dataclass
class Networks:
    """The three networks of a checkpoint, in float32 and evaluation mode."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel


def read_checkpoint(config: StarterConfig, path: Path) -> Networks:
    """Read a file that `export` wrote; `config` must be the one it was written with."""
    weights = {k: v.float() for k, v in load_file(path).items()}
    unet = build_unet(config.unet, config.vae.latent_channels, config.latent_size)
    unet.load_state_dict(reader.convert_ldm_unet_checkpoint(dict(weights), dict(unet.config)))
    vae = build_vae(config.vae, config.data.size)
    shapes = {k: v.shape for k, v in vae.state_dict().items()}
    converted = reader.convert_ldm_vae_checkpoint(dict(weights), dict(vae.config))
    vae.load_state_dict({k: v.reshape(shapes[k]) for k, v in converted.items()})
    text = build_text(config.unet)
    text.load_state_dict({k.removeprefix(TEXT_PREFIX): v for k, v in weights.items() if k.startswith(TEXT_PREFIX)})
    return Networks(unet.eval(), vae.eval(), text.eval())


def scheduler(config: StarterConfig) -> DDIMScheduler:
    """Return a plain sampler on the schedule that the model was trained with."""
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=LINEAR_START,
        beta_end=LINEAR_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="linspace",
        prediction_type="v_prediction" if config.unet.prediction == "v" else "epsilon",
    )


@torch.no_grad()
def draw(
    nets: Networks,
    config: StarterConfig,
    prompts: list[str],
    *,
    steps: int = 20,
    guidance: float = 5.0,
    seed: int = 0,
    negative: str | list[str] = "",
    begin: np.ndarray | None = None,
    strength: float = 1.0,
    mask: torch.Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return (b, h, w, 3) uint8 pictures for the prompts, the i-th with the i-th noise of `seed`.

    `size` is (h, w) in pixels, the native one when None.
    `begin` are pictures (b, h, w, 3) to begin from, with `strength` of the schedule's steps; `mask` (s, s) says which of their latents are
    drawn anew, where 1 is wholly.
    """
    without = [negative] * len(prompts) if isinstance(negative, str) else negative
    ids = torch.from_numpy(np.stack([padded(words_to_ids(p)) for p in (*without, *prompts)]))
    context = nets.text(input_ids=ids).last_hidden_state
    height, width = size or (config.data.size, config.data.size)
    shape = (len(prompts), config.vae.latent_channels, height // config.factor, width // config.factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    sampler = scheduler(config)
    sampler.set_timesteps(steps)
    times = sampler.timesteps[steps - round(steps * strength) :]
    kept = None if begin is None else encoded(nets, begin)
    x = noise if kept is None or strength == 1.0 else sampler.add_noise(kept, noise, times[:1])
    for t in times:
        if kept is not None and mask is not None:
            x = torch.where(mask > 0.5, x, sampler.add_noise(kept, noise, t[None]))
        plain, with_words = nets.unet(torch.cat([x, x]), t, encoder_hidden_states=context).sample.chunk(2)
        x = sampler.step(plain + guidance * (with_words - plain), t, x).prev_sample
    if kept is not None and mask is not None:
        x = torch.where(mask > 0.5, x, kept)
    pixels = torch.cat([nets.vae.decode(part / SCALE_FACTOR).sample for part in x.split(8)])
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def encoded(nets: Networks, pictures: np.ndarray) -> torch.Tensor:
    """Return the latents (b, c, s, s) of uint8 pictures (b, h, w, 3), in the scale that the denoiser sees."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return nets.vae.encode(pixels).latent_dist.mean * SCALE_FACTOR


def sheet(rows: list[np.ndarray], columns: int, zoom: int = 3) -> Image.Image:
    """Lay groups of pictures (b, h, w, 3) out in rows of `columns`, each group from a new row, enlarged plainly."""
    height, width = rows[0].shape[1:3]
    lines: list[np.ndarray] = []
    for group in rows:
        for start in range(0, len(group), columns):
            line = np.full((height, columns * width, 3), 255, dtype=np.uint8)
            for i, picture in enumerate(group[start : start + columns]):
                line[:, i * width : (i + 1) * width] = picture
            lines.append(line)
    made = Image.fromarray(np.concatenate(lines))
    return made.resize((made.width * zoom, made.height * zoom), Image.Resampling.NEAREST)
