"""First stage: the KL autoencoder, on crops of freshly composed pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch.nn import functional as F

from training.starter import pictures
from training.starter.config import StarterConfig
from training.starter.latents import SCALE_FACTOR, rescale
from training.starter.models import build_vae, parameters
from training.starter.precision import FULL, Precision, precision_of
from training.starter.scenes import taught
from training.starter.state import Stage

HELD_OUT_SEED = 7_000_001  # compositions of this seed are never trained on


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the differences of neighbouring pixels, down and across."""
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def picture_loss(y: torch.Tensor, x: torch.Tensor, edge: float) -> torch.Tensor:
    """Compare pictures (b, 3, n, n) in -1..1: absolute and squared difference, and the same of their edges."""
    loss = (y - x).abs().mean() + 2.0 * F.mse_loss(y, x)
    for a, b in zip(edges(y), edges(x), strict=True):
        loss = loss + edge * (a - b).abs().mean()
    return loss


def vae_loss(vae: AutoencoderKL, x: torch.Tensor, noise: torch.Tensor, kl: float, edge: float, precision: Precision = FULL) -> torch.Tensor:
    """Reconstruction and a small pull of the latents to a normal distribution; `noise` has the latents' shape."""
    with precision():
        moments = vae.quant_conv(vae.encoder(x))
    posterior = DiagonalGaussianDistribution(moments.float())
    with precision():
        y = vae.decode(posterior.mean + posterior.std * noise).sample
    return picture_loss(y.float(), x, edge) + kl * posterior.kl().mean()


def psnr(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return how like each of the pictures (b, 3, n, n) in -1..1 its counterpart is, in dB; at most 100."""
    error = ((y - x) / 2).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return -10 * error.log10()


@torch.no_grad()
def held_out_psnr(vae: AutoencoderKL, config: StarterConfig, names: list[int] | None = None) -> float:
    """Return the mean PSNR, in dB, of whole held-out pictures after a round trip through the latent mean.

    They show `names`, or every name when None, also those that the denoiser isn't taught.
    """
    sprites = pictures.Sprites(config.data)
    x = torch.from_numpy(pictures.batch(np.random.default_rng(HELD_OUT_SEED), sprites, config.held_out, names=names))
    device = next(vae.parameters()).device
    values: list[float] = []
    for part in x.split(16):
        y = vae.decode(vae.encode(part.to(device)).latent_dist.mean).sample.clamp(-1, 1).cpu()
        values += psnr(y, part).tolist()
    return float(np.mean(values))


def averaged_vae(stage: Stage, config: StarterConfig) -> AutoencoderKL:
    """Return the stage's averaged weights as a network in evaluation mode."""
    vae = build_vae(config.vae, config.data.size)
    vae.load_state_dict(stage.averaged())
    return vae.eval()


def train_vae(config: StarterConfig, folder: Path, stop_after: int | None = None, start: AutoencoderKL | None = None) -> AutoencoderKL:
    """Train (or take up) the autoencoder in `folder` and return its averaged weights.

    `stop_after` ends the run early after that many steps in all, as a kill would.  `start` is a finished one to begin from, whose
    latents are standardised.
    """
    torch.manual_seed(config.seed)
    vae = build_vae(config.vae, config.data.size)
    if start:
        vae.load_state_dict(start.state_dict())
        # The KL term pulls towards deviation 1, not to SD1's.
        rescale(vae, torch.zeros(config.vae.latent_channels), torch.full((config.vae.latent_channels,), SCALE_FACTOR))
    vae = vae.to(config.device)
    if config.device == "cpu":
        vae.set_attn_processor(AttnProcessor())  # torch's fused attention is slower backwards at these sizes
    v = config.vae
    stage = Stage(
        "vae",
        vae,
        folder,
        lr=v.lr,
        ema=v.ema,
        steps=v.steps,
        minutes=v.minutes,
        seed=config.seed + 1,
        save_every_s=config.save_every_s,
        log_every=config.log_every,
        muon=True,
    )
    resumed = stage.resume()
    print(
        f"vae: {parameters(vae) / 1e6:.2f} M parameters, from step {stage.step}"
        if resumed
        else f"vae: {parameters(vae) / 1e6:.2f} M parameters",
        flush=True,
    )
    sprites, precision = pictures.Sprites(config.data), precision_of(config)

    def loss_of(stage: Stage) -> torch.Tensor:
        crop, count = v.crop, v.batch
        if stage.progress >= v.whole_after:
            crop = config.data.size
            count = max(1, v.batch * v.crop**2 // crop**2)
        x = torch.from_numpy(pictures.batch(stage.rng, sprites, count, crop)).to(config.device)
        side = crop // config.factor
        noise = torch.randn((count, v.latent_channels, side, side), generator=stage.generator).to(config.device)
        return vae_loss(vae, x, noise, v.kl, v.edge, precision)

    def on_save(stage: Stage) -> None:
        print(f"vae: held out {held_out_psnr(averaged_vae(stage, config), config):.2f} dB", flush=True)

    stage.run(loss_of, on_save, stop_after)
    return averaged_vae(stage, config)


def decoder_stage(config: StarterConfig, vae: AutoencoderKL, folder: Path) -> Stage:
    """Return the stage that trains `vae`'s decoder, taken up where it was left; this loads the decoder into `vae`."""
    v = config.vae
    trained = torch.nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv})
    stage = Stage(
        "decoder",
        trained,
        folder,
        lr=v.decoder_lr,
        ema=v.ema,
        steps=v.decoder_steps,
        minutes=v.decoder_minutes,
        seed=config.seed + 5,
        save_every_s=config.save_every_s,
        log_every=config.log_every,
        muon=True,
    )
    stage.resume()
    return stage


def refined_vae(stage: Stage, vae: AutoencoderKL, config: StarterConfig) -> AutoencoderKL:
    """Return `vae` with the stage's averaged decoder, as a network of its own in evaluation mode."""
    made = build_vae(config.vae, config.data.size)
    made.load_state_dict({**vae.state_dict(), **stage.averaged()})
    return made.eval()


def refine_decoder(config: StarterConfig, vae: AutoencoderKL, folder: Path, stop_after: int | None = None) -> AutoencoderKL:
    """Train the decoder further on whole pictures, with the encoder and so the latents as they are.

    It needs nothing of the denoiser and changes nothing that the denoiser learns from, so on a machine with cores to
    spare the two may run at the same time.  It sees the names that the denoiser is taught, and no others.  Returns a
    network with the averaged weights.
    """
    v = config.vae
    vae = vae.to(config.device)
    stage = decoder_stage(config, vae, folder)
    names = taught(config.data)
    sprites, precision = pictures.Sprites(config.data), precision_of(config)

    def loss_of(stage: Stage) -> torch.Tensor:
        x = torch.from_numpy(pictures.batch(stage.rng, sprites, v.decoder_batch, names=names)).to(config.device)
        with torch.no_grad(), precision():
            z = vae.encode(x).latent_dist.mean
        with precision():
            y = vae.decode(z.float()).sample.float()
        return picture_loss(y, x, v.edge) - v.decoder_psnr * psnr(y, x).mean()

    def on_save(stage: Stage) -> None:
        refined = refined_vae(stage, vae, config)
        measured = [held_out_psnr(refined, config, some) for some in (names, None)]
        print(f"decoder: held out {measured[0]:.2f} dB of the names taught, {measured[1]:.2f} dB of all", flush=True)

    stage.run(loss_of, on_save, stop_after)
    return refined_vae(stage, vae, config)
