"""Which network is an upscaler's file, and which one is in memory? Told from its tensors by spandrel, run on one tile at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from modules.domain.catalog import UpscalerInfo
from modules.domain.errors import NotANumber
from modules.upscalers.described import Reader, described, precision
from modules.upscalers.tiles import FloatPixels

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


class _Described(Protocol):
    """What spandrel knows about a network, as far as it is used here."""

    @property
    def model(self) -> nn.Module: ...

    def __call__(self, image: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class UpscalerNetwork:
    """A network that makes pictures `scale` times as large. `tiled` is false where it cuts pictures up by itself."""

    name: str
    scale: int
    tiled: bool
    device: torch.device
    dtype: torch.dtype
    described: _Described

    @torch.inference_mode()
    def __call__(self, pixels: FloatPixels) -> FloatPixels:
        """(H, W, 3) from 0 to 1 -> (H * scale, W * scale, 3). Raises `NotANumber`."""
        image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).to(self.device, self.dtype)
        made = self.described(image).squeeze(0).permute(1, 2, 0).float().cpu().numpy()
        if not np.isfinite(made).all():
            hint = " in float16; start with --no-half" if self.dtype == torch.float16 else "; get the file again, or choose another one"
            raise NotANumber(f"Upscaler {self.name} made numbers that are no colours{hint}.")
        return made


class UpscalerModels:
    """Holds one upscaler on `device`, in `dtype` where its network can be run so. Not for several threads at once."""

    def __init__(self, read: Reader, device: torch.device, dtype: torch.dtype) -> None:
        self._read = read
        self._device = device
        self._dtype = dtype
        self._held: tuple[tuple[str, int, float], UpscalerNetwork] | None = None

    def holds(self, info: UpscalerInfo) -> bool:
        """Whether `get` would have nothing to load."""
        return self._held is not None and self._held[0] == _key(info)

    def get(self, info: UpscalerInfo) -> UpscalerNetwork:
        """The network in the file. Raises `ModelLoadError` with the reason (not the file's name), OSError where it can't be read."""
        if self._held is None or self._held[0] != _key(info):
            self._held = (_key(info), self._load(info))
        return self._held[1]

    def clear(self) -> None:
        """Hold none."""
        self._held = None

    def _load(self, info: UpscalerInfo) -> UpscalerNetwork:
        from spandrel import ModelTiling

        found = described(self._read(Path(info.path)), "an upscaler", _enlarges)
        dtype = precision(found, self._dtype)
        found.model.to(self._device, dtype).eval().requires_grad_(False)
        tiled = found.tiling != ModelTiling.INTERNAL
        return UpscalerNetwork(info.label, found.scale, tiled, self._device, dtype, found)


def _key(info: UpscalerInfo) -> tuple[str, int, float]:
    return (info.path, info.size, info.modified)


def _enlarges(found: ImageModelDescriptor[Any]) -> bool:
    return found.purpose != "FaceSR"
