"""Which network do a file's tensors belong to? Spandrel's answer, checked; its failures as one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from modules.domain.errors import ModelLoadError

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ImageModelDescriptor

Reader = Callable[[Path], Mapping[str, Any]]
"""A file's tensors by name. Raises `ModelLoadError` with the reason, OSError where the file can't be read."""

_FOREIGN = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, AssertionError, NotImplementedError)


def described(
    tensors: Mapping[str, Any], wanted: str, fits: Callable[[ImageModelDescriptor[Any]], bool], registry: ArchRegistry | None = None
) -> ImageModelDescriptor[Any]:
    """The network, in float32 on the CPU, and what spandrel knows about it.

    `wanted` is what the file should hold, in words ("an upscaler"), and `fits` whether a network is that; `registry` holds the
    architectures that are looked through (None: spandrel's own). Raises `ModelLoadError` with the reason for all else.
    """
    # here and not above: only who uses such a network waits for the library
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    loader = ModelLoader() if registry is None else ModelLoader(registry=registry)
    try:
        found = loader.load_from_state_dict(dict(tensors))
    except UnsupportedModelError as error:
        raise ModelLoadError(f"it is not {wanted} that this version knows") from error
    except torch.OutOfMemoryError:
        raise
    except _FOREIGN as error:
        raise ModelLoadError(f"it is not {wanted}, or a damaged one ({_first_line(error)})") from error
    if not isinstance(found, ImageModelDescriptor) or not fits(found):
        raise ModelLoadError(f"it is a {found.architecture.name} for {found.purpose}, not {wanted}")
    if (found.input_channels, found.output_channels) != (3, 3):
        raise ModelLoadError(f"it reads {found.input_channels} channels and makes {found.output_channels}, where pictures have 3")
    _check_finite(found.model)
    return found


def precision(found: ImageModelDescriptor[Any], dtype: torch.dtype) -> torch.dtype:
    """`dtype`, or float32 where that is float16 and the network can't be run so."""
    return torch.float32 if dtype == torch.float16 and not found.supports_half else dtype


def _check_finite(network: nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelLoadError(f"it holds numbers that are not finite, in {name!r}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
