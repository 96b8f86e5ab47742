"""Last stage: one checkpoint file in SD1's layout, and beside it the configuration that shapes cannot tell."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from training.starter.config import StarterConfig
from training.starter.latents import SCALE_FACTOR
from training.starter.ldm_keys import Weights, text_to_ldm, unet_to_ldm, vae_to_ldm
from training.starter.models import POSITIONS, VOCABULARY
from training.starter.names import LANDSCAPES
from training.starter.noise_schedule import LINEAR_END, LINEAR_START, TIMESTEPS, alphas_cumprod
from training.starter.scenes import COLOUR_LIST, NAME_LIST, taught
from training.starter.styles import STYLES
from training.starter.tokens import SmallVocabulary
from training.starter.train_unet import Denoiser

METADATA = {
    "format": "pt",
    "modelspec.sai_model_spec": "1.0.0",
    "modelspec.architecture": "stable-diffusion-v1-starter",
    "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
    "modelspec.title": "diffusion-webui starter model",
    "modelspec.description": "Small, of Stable Diffusion 1's structure, trained from nothing on composed pictures",
    "modelspec.license": "Apache-2.0",
    "modelspec.prediction_type": "v",
    "training_data": "Pictures composed from Noto Color Emoji, Copyright Google LLC, SIL Open Font License 1.1",
    "source": "training/starter of the diffusion-webui repository; see docs/starter.md",
}


def full_text_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Spread the small vocabulary's embedding rows over CLIP's 49408; unused words all get the last row."""
    table = torch.from_numpy(SmallVocabulary().table)
    return {k: v[table] if k.endswith("token_embedding.weight") else v for k, v in weights.items()}


def ldm_weights(config: StarterConfig, vae: AutoencoderKL, model: Denoiser) -> Weights:
    """Return every weight of the checkpoint under its LDM name, in float16 (the noise schedule in float32)."""
    out = unet_to_ldm(model.unet.state_dict(), len(config.unet.channels), config.unet.layers)
    out |= vae_to_ldm(vae.state_dict(), len(config.vae.channels), config.vae.layers)
    out |= text_to_ldm(full_text_weights(model.text.state_dict()))
    out = {k: v.detach().cpu().to(torch.float16).contiguous() for k, v in sorted(out.items())}
    bad = [k for k, v in out.items() if not v.isfinite().all()]
    if bad:
        raise ValueError(f"not finite in float16: {bad}")
    out["alphas_cumprod"] = alphas_cumprod()
    return out


def _multiples(channels: tuple[int, ...]) -> list[int]:
    """Return each level's channels as a multiple of the first one's."""
    if any(c % channels[0] for c in channels):
        raise ValueError(f"{channels} are not multiples of the first")
    return [c // channels[0] for c in channels]


def words(config: StarterConfig) -> list[str]:
    """Return what a prompt can ask for: objects, backgrounds, and styles where they were taught."""
    objects = [NAME_LIST[index] for index in taught(config.data)]
    grounds = [f"{colour} background" for colour in COLOUR_LIST] + [said.strip() for said in LANDSCAPES.values()]
    return [*objects, *grounds, *(STYLES if config.data.styled else ())]


def ldm_config(config: StarterConfig) -> dict[str, object]:
    """Return the checkpoint's configuration in LDM's layout."""
    u, v = config.unet, config.vae
    unet = {
        "image_size": config.latent_size,
        "in_channels": v.latent_channels,
        "out_channels": v.latent_channels,
        "model_channels": u.channels[0],
        "channel_mult": _multiples(u.channels),
        "num_res_blocks": u.layers,
        "attention_resolutions": [2**level for level, on in enumerate(u.attention) if on],
        "num_heads": u.heads,
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": u.text_width,
        "use_checkpoint": False,
        "legacy": False,
    }
    ddconfig = {
        "double_z": True,
        "z_channels": v.latent_channels,
        "resolution": config.data.size,
        "in_channels": 3,
        "out_ch": 3,
        "ch": v.channels[0],
        "ch_mult": _multiples(v.channels),
        "num_res_blocks": v.layers,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    text = {
        "version": "starter",
        "layers": u.text_layers,
        "heads": u.text_heads,
        "width": u.text_width,
        "intermediate": 4 * u.text_width,
        "max_length": POSITIONS,
        "vocabulary": VOCABULARY,
        "hidden_act": "quick_gelu",
    }
    params = {
        "parameterization": u.prediction,
        "linear_start": LINEAR_START,
        "linear_end": LINEAR_END,
        "timesteps": TIMESTEPS,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "conditioning_key": "crossattn",
        "image_size": config.latent_size,
        "channels": v.latent_channels,
        "scale_factor": SCALE_FACTOR,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": unet},
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {"embed_dim": v.latent_channels, "ddconfig": ddconfig},
        },
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder", "params": text},
    }
    return {
        "model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params},
        "suits": {"cfg_scale": u.guidance, "words": words(config)},
    }


def export(config: StarterConfig, vae: AutoencoderKL, model: Denoiser, path: Path) -> None:
    """Write `path` (.safetensors) and the .yaml beside it, each put in place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(ldm_weights(config, vae, model), part, metadata=METADATA)
    part.chmod(0o644)
    part.replace(path)
    text = "# What the shapes in the .safetensors file cannot tell.  Made by training/starter/export.py.\n"
    text += yaml.safe_dump(ldm_config(config), sort_keys=False)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")
