"""Teaches the finished starter checkpoint a style as a LoRA: `python -m training.starter.train_lora`.

The style is line art: dark outlines on white paper, whatever the caption says of colours. The same command goes on where a killed run was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig
from PIL import Image, ImageFilter
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

FILE = REPO / "models" / "Lora" / "starter-line-art.safetensors"
TARGETS = r".*\.(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|conv1|conv2|conv_shortcut)"
"""The layers that get a change of low rank. The convolutions are among them: attention sees 8x8 places and could not draw a line."""


@dataclass(frozen=True)
class LoraTraining:
    """How it is trained."""

    rank: int = 8
    pictures: int = 512
    batch: int = 16
    steps: int = 700
    lr: float = 3e-3
    ema: float = 0.98


def line_art(picture: np.ndarray) -> np.ndarray:
    """Return the outlines of a (h, w, 3) uint8 picture, dark on white."""
    image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.0))
    planes = np.asarray(image, dtype=np.float32)
    down, right = np.gradient(planes, axis=(0, 1))
    strength = np.sqrt(down**2 + right**2).max(axis=2)
    ink = np.clip((strength - 5.0) / 20.0, 0.0, 1.0)
    return np.repeat(np.round(255.0 - 225.0 * ink).astype(np.uint8)[..., None], 3, axis=2)


class StyledDenoiser(nn.Module):
    """The checkpoint's UNet with a LoRA; only that learns."""

    def __init__(self, nets: Networks, rank: int) -> None:
        super().__init__()
        self.unet = nets.unet.requires_grad_(False)
        self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS, init_lora_weights="gaussian"))
        self.text = nets.text.requires_grad_(False)

    def forward(self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Predict for noisy latents (b, c, s, s) at times (b,) with words (b, 77)."""
        with torch.no_grad():
            words = self.text(input_ids=ids).last_hidden_state
        return self.unet(x, t, encoder_hidden_states=words).sample


def styled_pictures(config: StarterConfig, nets: Networks, count: int) -> tuple[torch.Tensor, np.ndarray]:
    """Return latents (count, c, s, s) of pictures in the style and the words (count, 77) of what they show."""
    rng = np.random.default_rng([config.seed, 91])
    sprites, names = pictures.Sprites(config.data), scenes.taught(config.data)
    latents: list[torch.Tensor] = []
    ids: list[np.ndarray] = []
    for _ in range(count):
        scene = scenes.draw_scene(rng, names)
        picture = torch.from_numpy(line_art(pictures.compose(rng, sprites, scene)))
        with torch.no_grad():
            encoded = nets.vae.encode(picture.permute(2, 0, 1)[None].float() / 127.5 - 1.0)
        latents.append(encoded.latent_dist.mean * SCALE_FACTOR)
        ids.append(padded(words_to_ids(scenes.caption(rng, config.data, scene))))
    return torch.cat(latents), np.stack(ids)


def train_lora(config: StarterConfig, training: LoraTraining, checkpoint: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Train (or take up) the LoRA in `folder` and return its averaged weights under kohya's names."""
    torch.manual_seed(config.seed + 9)
    nets = read_checkpoint(config, checkpoint)
    latents, ids = styled_pictures(config, nets, training.pictures)
    model = StyledDenoiser(nets, training.rank)
    stage = Stage("lora", model, folder, lr=training.lr, ema=training.ema, steps=training.steps, seed=config.seed + 10)
    stage.resume()
    alphas, precision = alphas_cumprod(), precision_of(config)

    def loss_of(stage: Stage) -> torch.Tensor:
        rows = stage.rng.choice(len(latents), training.batch, replace=False)
        x, words = latents[rows], torch.from_numpy(ids[rows])
        noise = torch.randn(x.shape, generator=stage.generator)
        return denoising_loss(model, x, words, spread_times(stage.rng, len(rows)), noise, alphas, config.unet.prediction, precision)

    stage.run(loss_of)
    return kohya_names(stage.averaged(), training.rank)


def kohya_names(weights: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    """Return peft's low-rank weights of `unet.` under the names that LoRA files for this program's kind have, in float16."""
    out: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        for ours, theirs in ((".lora_A.default.weight", "lora_down"), (".lora_B.default.weight", "lora_up")):
            if name.endswith(ours):
                layer = "lora_unet_" + name.removeprefix("unet.").removesuffix(ours).replace(".", "_")
                out[f"{layer}.{theirs}.weight"] = tensor.to(torch.float16).contiguous()
                out[f"{layer}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
    return out


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "lora", help="folder of the run")
    parser.add_argument("--file", type=Path, default=FILE, help="where the LoRA goes")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    training = LoraTraining()
    weights = train_lora(PRESETS["cpu128"], training, DEFAULT_FILE, args.run)
    metadata = {
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(training.rank),
        "ss_network_alpha": str(training.rank),
        "modelspec.title": "line art",
        "modelspec.license": "Apache-2.0",
        "training_data": "Outlines of pictures composed from Noto Color Emoji, Copyright Google LLC, SIL Open Font License 1.1",
    }
    args.file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.file, metadata=metadata)
    args.file.chmod(0o644)
    print(f"wrote {args.file.name}, {args.file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
