"""Which small decoder shows a checkpoint's latents while they are drawn? Files of `models/VAE-approx`, read when they are first wanted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import ModelLoadError
from modules.families.base import ModelFacts
from modules.families.tiny_decoder import TinyDecoder
from modules.weights.upscaler_files import read_upscaler

log = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt")


class PreviewDecoders:
    """Holds the decoder that was last asked for, on `device`. Not for several threads at once."""

    def __init__(self, folders: Sequence[Path], device: torch.device, dtype: torch.dtype) -> None:
        self._folders = tuple(folders)
        self._device = device
        self._dtype = dtype
        self._held: tuple[tuple[str, int], TinyDecoder | None] | None = None

    def find(self, checkpoint: CheckpointInfo, facts: ModelFacts) -> TinyDecoder | None:
        """The decoder for a checkpoint's latents; None where there is none, or none that can be read.

        Looked for are "<checkpoint>_decoder", then "taesdxl_decoder" for SDXL and "taesd_decoder" for the rest.
        """
        if facts.factor != 8:
            return None
        for name in (f"{checkpoint.stem}_decoder", "taesdxl_decoder" if facts.is_sdxl else "taesd_decoder"):
            for path in (folder / f"{name}{suffix}" for folder in self._folders for suffix in SUFFIXES):
                if path.is_file():
                    decoder = self._get(path)
                    return decoder if decoder is not None and decoder.latent_channels == facts.latent_channels else None
        return None

    def clear(self) -> None:
        """Hold none."""
        self._held = None

    def _get(self, path: Path) -> TinyDecoder | None:
        key = (str(path), path.stat().st_mtime_ns)
        if self._held is None or self._held[0] != key:
            self._held = (key, self._read(path))
        return self._held[1]

    def _read(self, path: Path) -> TinyDecoder | None:
        """A preview is not worth a job: a file that can't be read is told of once, and the cheap preview shown."""
        try:
            return TinyDecoder(read_upscaler(path), self._device, self._dtype)
        except (ModelLoadError, OSError) as error:
            log.warning("The preview decoder %s can't be used: %s", path.name, error)
            return None
