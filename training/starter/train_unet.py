"""Third stage: the denoiser and the text encoder together, on cached latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextModel

from modules.training.loop import spread_levels
from training.starter.captions import CaptionMaker
from training.starter.config import StarterConfig
from training.starter.earlier import Earlier
from training.starter.latents import Bucket
from training.starter.models import build_text, build_unet, parameters
from training.starter.noise_schedule import TIMESTEPS, alphas_cumprod
from training.starter.precision import FULL, Precision, precision_of
from training.starter.scenes import Scene
from training.starter.state import Stage
from training.starter.tokens import SmallVocabulary
from training.starter.train_text import train_text


class Denoiser(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, config: StarterConfig, vocabulary: int) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = build_unet(config.unet, config.vae.latent_channels, config.latent_size)
        if config.device == "cpu":
            self.unet.set_attn_processor(AttnProcessor())  # torch's fused attention is slower backwards at these sizes
        self.text: CLIPTextModel = build_text(config.unet, vocabulary)
        self.frozen = config.unet.text_frozen
        self.text.requires_grad_(not self.frozen)

    def forward(self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Predict for noisy latents (b, c, h, w) at times (b,) with words (b, 77)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            words = self.text(input_ids=ids).last_hidden_state
        return self.unet(x, t, encoder_hidden_states=words).sample


def spread_times(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Return (count,) times, one from each equal part of the schedule: less chance in the loss than free draws."""
    return spread_levels(rng, count, TIMESTEPS)


def token_batch(rng: np.random.Generator, captions: CaptionMaker, scenes: np.ndarray) -> torch.Tensor:
    """Return (b, 77) small ids of fresh captions for scenes (b, 5)."""
    return torch.from_numpy(np.stack([captions.tokens(rng, Scene(*(int(i) for i in row))).ids for row in scenes]))


def denoising_loss(
    model: nn.Module,
    x: torch.Tensor,
    ids: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
    alphas: torch.Tensor,
    prediction: str,
    precision: Precision = FULL,
) -> torch.Tensor:
    """Return the squared error of the predicted velocity (or noise), evenly weighted over times."""
    a = alphas[t][:, None, None, None]
    noisy = a.sqrt() * x + (1 - a).sqrt() * noise
    target = a.sqrt() * noise - (1 - a).sqrt() * x if prediction == "v" else noise
    with precision():
        predicted = model(noisy, t, ids)
    return nn.functional.mse_loss(predicted.float(), target)


def batches(config: StarterConfig, cache: list[Bucket], epoch: int) -> list[tuple[Bucket, np.ndarray]]:
    """Return the batches of one epoch, each of one bucket and as the rows it has of it."""
    rng, size = np.random.default_rng([config.seed, 77, epoch]), config.unet.batch
    made: list[tuple[Bucket, np.ndarray]] = []
    for bucket in cache:
        rows = rng.permutation(len(bucket.scenes))
        made += [(bucket, np.sort(rows[start : start + size])) for start in range(0, len(rows) - size + 1, size)]
    return [made[i] for i in rng.permutation(len(made))]


def averaged_denoiser(stage: Stage, config: StarterConfig) -> Denoiser:
    """Return the stage's averaged weights as networks in evaluation mode."""
    model = Denoiser(config, len(SmallVocabulary()))
    model.load_state_dict(stage.averaged())
    return model.eval()


def denoiser_stage(
    config: StarterConfig, folder: Path, taught: dict[str, torch.Tensor] | None = None, start: dict[str, torch.Tensor] | None = None
) -> tuple[Stage, Denoiser]:
    """Return the stage in `folder`, taken up where it was left, with the network it trains.

    A new one starts from the text encoder's weights `taught`, and from the UNet's weights `start`, if any.
    """
    torch.manual_seed(config.seed + 2)
    model = Denoiser(config, len(SmallVocabulary())).to(config.device)
    u = config.unet
    stage = Stage(
        "unet",
        model,
        folder,
        lr=u.lr,
        ema=u.ema,
        steps=u.steps,
        minutes=u.minutes,
        seed=config.seed + 3,
        save_every_s=config.save_every_s,
        log_every=config.log_every,
        muon=True,
    )
    if not stage.resume() and taught is not None:
        model.text.load_state_dict(taught)
        if start is not None:
            model.unet.load_state_dict(start)
        stage.forget_average()
    print(
        f"unet: {parameters(model.unet) / 1e6:.2f} M and {parameters(model.text) / 1e6:.2f} M parameters, from step {stage.step}",
        flush=True,
    )
    return stage, model


def train_unet(
    config: StarterConfig, cache: list[Bucket], folder: Path, stop_after: int | None = None, earlier: Earlier | None = None
) -> Denoiser:
    """Train (or take up) the denoiser in `folder` and return its averaged weights; `earlier` is a checkpoint to begin from."""
    captions = CaptionMaker(config.data)
    taught = train_text(config, folder.parent / f"{folder.name}-text", earlier.text(captions.small) if earlier else None)
    stage, model = denoiser_stage(config, folder, taught, earlier.unet() if earlier else None)
    alphas, precision = alphas_cumprod().to(config.device), precision_of(config)
    size = config.unet.batch
    per_epoch = sum(len(bucket.scenes) // size for bucket in cache)
    current: dict[int, list[tuple[Bucket, np.ndarray]]] = {}

    def loss_of(stage: Stage) -> torch.Tensor:
        epoch, place = divmod(stage.step, per_epoch)
        if epoch not in current:
            current.clear()
            current[epoch] = batches(config, cache, epoch)
        bucket, rows = current[epoch][place]
        x = torch.from_numpy(bucket.latents[rows].astype(np.float32)).to(config.device)
        ids = token_batch(stage.rng, captions, bucket.scenes[rows]).to(config.device)
        t = spread_times(stage.rng, size).to(config.device)
        noise = torch.randn(x.shape, generator=stage.generator).to(config.device)
        return denoising_loss(model, x, ids, t, noise, alphas, config.unet.prediction, precision)

    stage.run(loss_of, None, stop_after)
    return averaged_denoiser(stage, config)
