"""Which network is a face restorer's file, and which one is in memory? Run on one aligned face at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modules.domain.catalog import CODEFORMER, FaceRestorerInfo
from modules.domain.errors import ModelLoadError, NotANumber
from modules.upscalers.described import Reader, described, precision
from modules.upscalers.tiles import FloatPixels

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ImageModelDescriptor

EXTRA_PACKAGE = "spandrel_extra_arches"

_NOT_INSTALLED = (
    "CodeFormer's network is in the Python package spandrel-extra-arches, which does not come with this program, since its licence allows "
    "no commercial use. If that suits you, install it with `venv/bin/pip install spandrel-extra-arches` and start the program again"
)


class FaceNetwork:
    """A restorer on `device`. What it gets and makes is (512, 512, 3) from 0 to 1."""

    def __init__(self, info: FaceRestorerInfo, found: ImageModelDescriptor[Any], device: torch.device, dtype: torch.dtype) -> None:
        self.info = info
        self._found = found
        self._device = device
        self._dtype = dtype

    @torch.inference_mode()
    def __call__(self, face: FloatPixels, weight: float) -> FloatPixels:
        """The restored face. `weight` is CodeFormer's fidelity w: 0 the best face, 1 the one most like its source. Raises `NotANumber`."""
        image = torch.from_numpy(face).permute(2, 0, 1).unsqueeze(0).to(self._device, self._dtype)
        made = self._run(image, weight).squeeze(0).permute(1, 2, 0).float().cpu().numpy()
        if not np.isfinite(made).all():
            raise NotANumber(f"{self.info.kind} ({self.info.name}) made numbers that are no colours; get the file again.")
        return made.clip(0, 1)

    def _run(self, image: Tensor, weight: float) -> Tensor:
        """As spandrel's descriptor does it, but for two networks that were trained with -1 to 1, which it does not convert."""
        model, architecture = self._found.model, self._found.architecture.id
        if architecture == "CodeFormer":
            return model(image * 2 - 1, weight=weight)[0] / 2 + 0.5
        if architecture == "GFPGAN":
            # The noise that the file holds, not fresh one: the same picture gives the same face each time.
            return model(image * 2 - 1, return_rgb=False, randomize_noise=False)[0] / 2 + 0.5
        return self._found(image)


class FaceNetworks:
    """Holds one restorer on `device`, in `dtype` where its network can be run so. Not for several threads at once."""

    def __init__(self, read: Reader, device: torch.device, dtype: torch.dtype) -> None:
        self._read = read
        self._device = device
        self._dtype = dtype
        self._held: FaceNetwork | None = None

    def holds(self, info: FaceRestorerInfo) -> bool:
        """Whether `get` would have nothing to load."""
        return self._held is not None and self._held.info == info

    def get(self, info: FaceRestorerInfo) -> FaceNetwork:
        """The network in the file. Raises `ModelLoadError` with the reason (not the file's name), OSError where it can't be read."""
        if self._held is None or self._held.info != info:
            # the one before goes first, so that there is never room needed for two
            self._held = None
            self._held = self._load(info)
        return self._held

    def clear(self) -> None:
        """Hold none."""
        self._held = None

    def _load(self, info: FaceRestorerInfo) -> FaceNetwork:
        registry = _extra_registry() if info.kind == CODEFORMER else None
        found = described(self._read(Path(info.path)), f"a {info.kind} network", _is_for_faces, registry)
        dtype = precision(found, self._dtype)
        found.model.to(self._device, dtype).eval().requires_grad_(False)
        return FaceNetwork(info, found, self._device, dtype)


def _is_for_faces(found: ImageModelDescriptor[Any]) -> bool:
    return found.purpose == "FaceSR"


def _extra_registry() -> ArchRegistry:
    # by its name: it is not among what this program requires
    from importlib import import_module

    try:
        return import_module(EXTRA_PACKAGE).EXTRA_REGISTRY
    except ImportError as error:
        raise ModelLoadError(_NOT_INSTALLED) from error
