"""How do latents become pictures? The KL autoencoder's decoder, a linear preview, and the empty picture that inpainting models want."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from modules.families.base import Residency

SD1_RGB_FACTORS = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
)
"""Latent channel -> RGB in -1..1 for SD1's own autoencoder (a published least-squares fit)."""

SDXL_RGB_FACTORS = (
    (0.3448, 0.4168, 0.4395),
    (-0.1953, -0.0290, 0.0250),
    (0.1074, 0.0886, -0.0163),
    (-0.3730, -0.2499, -0.2088),
)
"""The same for SDXL's."""

PUBLISHED_FACTORS = {0.18215: SD1_RGB_FACTORS, 0.13025: SDXL_RGB_FACTORS}
"""By scaling factor: SD2 has SD1's autoencoder, SDXL its own of the same structure."""

FITTED_ON = 24
"""Another autoencoder's factors are fitted on what it decodes from latents of this side, as many as there are grades of softness."""

SOFTNESSES = (2, 4, 8)
"""How many latents apart the points of noise are that those are drawn through: a picture in the making is as soft as that."""


DECODED_TILE = 64
"""Latents of a side of the pieces that a picture is decoded in when that is wanted: 512 pixels of SD1's."""

TILE_OVERLAP = 0.25


class Autoencoder:
    """diffusers' `AutoencoderKL` with its scaling factor: latents here are the scaled ones that the UNet works on."""

    def __init__(self, network: Any, scaling_factor: float, residency: Residency) -> None:
        self._network = network
        self._scale = scaling_factor
        self._residency = residency
        self._dtype = residency.dtype("vae")
        self._factors: Tensor | None = None

    @property
    def factor(self) -> int:
        """Pixels per latent along one side."""
        return 2 ** (len(self._network.config["block_out_channels"]) - 1)

    def widen(self) -> bool:
        """Compute in float32 from now on; False where that is so already. A network that float16 was too small for once, as SDXL's own is,
        would give NaN for the next picture too, and cost the time of two."""
        if self._dtype == torch.float32:
            return False
        self._cast(torch.float32)
        self._dtype = torch.float32
        return True

    def decode(self, latent: Tensor, *, tiled: bool = False) -> npt.NDArray[np.uint8] | None:
        """(C, H, W) float32 -> (height, width, 3) bytes; None where the result holds a NaN. `tiled`: in overlapping pieces."""
        pixels = self._decode_in(latent, self._dtype, tiled=tiled)
        if not bool(torch.isfinite(pixels).all()):
            return None
        # A1111 cuts the fraction off rather than rounding
        return ((pixels / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    def encode_mean(self, pixels: Tensor) -> Tensor:
        """(3, height, width) in -1..1 -> the posterior's mean (C, H, W), float32."""
        self._residency.use(self._network)
        batch = pixels.unsqueeze(0).to(self._residency.device)
        return self._network.encode(batch.to(self._dtype)).latent_dist.mode()[0].float() * self._scale

    def preview(self, latent: Tensor) -> Tensor:
        """(C, H, W) -> (H, W, 3) uint8 on the latent's device, by one matrix product."""
        if self._factors is None:
            self._factors = self._fit_factors().to(latent.device)
        channels = latent.shape[0]
        rgb = torch.einsum("chw,cr->hwr", latent, self._factors[:channels]) + self._factors[channels]
        return ((rgb / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)

    def _decode_in(self, latent: Tensor, dtype: torch.dtype, *, tiled: bool) -> Tensor:
        """(3, height, width) float32 in -1..1."""
        self._residency.use(self._network)
        decoded = self._tiled if tiled else self._network.decode
        with self._computing_in(dtype):
            return decoded((latent / self._scale).unsqueeze(0).to(dtype)).sample[0].float()

    @contextmanager
    def _computing_in(self, dtype: torch.dtype) -> Generator[None]:
        """A type other than the network's own is lent to it for a while."""
        own = self._dtype
        if dtype == own:
            yield
            return
        self._cast(dtype)
        try:
            yield
        finally:
            self._cast(own)

    def _cast(self, dtype: torch.dtype) -> None:
        # weights that are made in inference mode could never be trained with
        with torch.inference_mode(False):
            self._network.to(dtype)

    def _tiled(self, batch: Tensor) -> Any:
        self._network.tile_latent_min_size = DECODED_TILE
        self._network.tile_sample_min_size = DECODED_TILE * self.factor
        self._network.tile_overlap_factor = TILE_OVERLAP
        return self._network.tiled_decode(batch)

    def _fit_factors(self) -> Tensor:
        """(C + 1, 3): RGB in -1..1 is latent @ factors[:C] + factors[C]."""
        config = self._network.config
        published = PUBLISHED_FACTORS.get(self._scale)
        if published and tuple(config["block_out_channels"]) == (128, 256, 512, 512) and config["latent_channels"] == 4:
            return torch.tensor((*published, (0.0, 0.0, 0.0)))
        latents = torch.stack([_soft_noise(config["latent_channels"], FITTED_ON, FITTED_ON // apart) for apart in SOFTNESSES])
        pictures = [self._decode_in(latent.to(self._residency.device), torch.float32, tiled=False).clamp(-1, 1) for latent in latents]
        means = avg_pool2d(torch.stack(pictures), self.factor).cpu()
        if not bool(torch.isfinite(means).all()):
            return torch.zeros(latents.shape[1] + 1, 3)
        rows = latents.transpose(0, 1).flatten(1).T
        rows = torch.cat((rows, torch.ones(len(rows), 1)), dim=1)
        return torch.linalg.lstsq(rows, means.transpose(0, 1).flatten(1).T, driver="gelsd").solution


def _soft_noise(channels: int, side: int, points: int) -> Tensor:
    """(channels, side, side): reproducible noise through `points` x `points` points, with the spread that latents have."""
    noise = torch.randn((1, channels, points, points), generator=torch.Generator().manual_seed(points))
    soft = interpolate(noise, (side, side), mode="bicubic", align_corners=True)[0]
    return soft / soft.std()
