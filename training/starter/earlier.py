"""A finished checkpoint as the beginning of more training: its autoencoder as it is, its text encoder and UNet to learn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from training.starter.config import StarterConfig
from training.starter.models import VOCABULARY
from training.starter.sampling import read_checkpoint
from training.starter.tokens import SmallVocabulary

STIR = 0.02  # deviation that tells words apart which the checkpoint did not know


class Earlier:
    """The networks of a file that `export` wrote with networks of the same sizes."""

    def __init__(self, config: StarterConfig, path: Path) -> None:
        self._nets = read_checkpoint(config, path)
        self._seed = config.seed + 30

    def vae(self) -> AutoencoderKL:
        """The autoencoder; its latents are standardised already."""
        return self._nets.vae

    def unet(self) -> dict[str, torch.Tensor]:
        """The denoiser's weights."""
        return self._nets.unet.state_dict()

    def text(self, small: SmallVocabulary) -> dict[str, torch.Tensor]:
        """The text encoder's weights, with the rows of the small vocabulary alone; rows that were the unknown word's are stirred."""
        weights = dict(self._nets.text.state_dict())
        name = next(key for key in weights if key.endswith("token_embedding.weight"))
        table = weights[name]
        rest = np.setdiff1d(np.arange(VOCABULARY), np.array(small.ids))
        unknown = table[rest].median(0).values  # most of the words are unknown
        rows = table[list(small.ids)].clone()
        new = (rows - unknown).abs().amax(1) < 1e-6
        stirred = torch.randn(rows.shape, generator=torch.Generator().manual_seed(self._seed)) * STIR
        rows[new] += stirred[new]
        weights[name] = torch.cat([rows, unknown[None]])
        return weights
