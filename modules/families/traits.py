"""What do all files of a family have in common that their tensors' shapes don't tell?"""

from __future__ import annotations

from dataclasses import dataclass

from modules.domain.errors import ModelLoadError

IDS = {"original_size": 2, "crop": 2, "target_size": 2, "aesthetic_score": 1}
"""How many numbers each thing is that a UNet can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """A family's constants, whichever layout a checkpoint comes in."""

    family: str
    """Its id."""
    title: str
    scaling_factor: float
    heads: int | None = None
    """Attention heads a level, where `head_channels`, the channels of a head, does not say it."""
    head_channels: int | None = None
    told: tuple[str, ...] = ()
    """`Blueprint.told`."""
    is_sdxl: bool = False


def check_channels(in_channels: int, latent_channels: int) -> None:
    """Raise `ModelLoadError` unless the UNet reads a latent alone, or one with a mask and a picture to inpaint."""
    if in_channels not in (latent_channels, 2 * latent_channels + 1):
        raise ModelLoadError(
            f"its UNet reads {in_channels} channels: it edits pictures or goes by their depth, and this version has no such models"
        )
