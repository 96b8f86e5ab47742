"""How does a tiny autoencoder of TAESD's kind become a picture's preview? Its decoder, built from the tensors that a file has."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from torch import Tensor

from modules.domain.errors import ModelLoadError

BLOCKS = (3, 3, 3, 1)
"""How many blocks there are at each size, from the latents' to the picture's."""

_NUMBERED = re.compile(r"(\d+)\.(.+)")


class TinyDecoder:
    """Decodes latents roughly and quickly."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        """`tensors` are those of the published `taesd_decoder` files, of diffusers' `AutoencoderTiny`, or of its decoder alone.

        Raises `ModelLoadError` with the reason.
        """
        weights = _decoder_weights(tensors)
        first = weights.get("layers.0.weight")
        if first is None or first.dim() != 4:
            raise ModelLoadError("it is no decoder of a tiny autoencoder")
        width, self.latent_channels = first.shape[:2]
        network = DecoderTiny(self.latent_channels, 3, BLOCKS, (width,) * len(BLOCKS), 2, "relu", "nearest")
        try:
            network.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ModelLoadError("it is a tiny autoencoder of a shape that this version does not know") from error
        self._network = network.to(device, dtype).eval().requires_grad_(False)
        self._dtype = dtype

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents (B, C, H, W) as the denoiser knows them -> (B, 8 H, 8 W, 3) uint8 on their device."""
        pictures = [self._network(latent.unsqueeze(0).to(self._dtype))[0].float() for latent in latents]
        pixels = torch.stack(pictures).permute(0, 2, 3, 1)
        return ((pixels / 2 + 0.5).clamp(0, 1).nan_to_num() * 255).to(torch.uint8)


def _decoder_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's weights under diffusers' names. The published files number the layers from 1: their 0 limits the latents."""
    if any(name.startswith("decoder.") for name in tensors):
        return {name.removeprefix("decoder."): tensor for name, tensor in tensors.items() if name.startswith("decoder.")}
    if any(name.startswith("layers.") for name in tensors):
        return dict(tensors)
    numbered = {name: match for name in tensors if (match := _NUMBERED.fullmatch(name))}
    return {f"layers.{int(match[1]) - 1}.{match[2]}": tensors[name] for name, match in numbered.items()}
