"""How do a checkpoint's tensors become networks? Bare modules under a meta device, then each tensor converted and assigned.

Either a whole network comes out or a `ModelLoadError` with the reason; nothing that is in use is touched.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modules.domain.errors import ModelLoadError, OutOfMemory
from modules.families.base import Part, Piece
from modules.weights.sources import WeightSource

_BUILD_FAILURES = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, NotImplementedError)


@contextmanager
def naming(file: str) -> Generator[None]:
    """Let errors within name the file: whatever goes wrong is a `ModelLoadError` (or `OutOfMemory`) that a user can act on."""
    try:
        yield
    except ModelLoadError as error:
        raise ModelLoadError(f"{file} can't be loaded: {error}.") from error
    except OSError as error:
        raise ModelLoadError(f"{file} can't be loaded: it can't be read ({error.strerror or error}).") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"There is not enough memory to load {file}. Close other programs, or choose a smaller model.") from error


def load_part(part: Part, source: WeightSource, dtype: torch.dtype) -> nn.Module:
    """The network on the CPU with its weights in `dtype`, in evaluation mode, without gradients."""
    module = bare_module(part)
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in part.names or _file_name(part, name) not in source.shapes]
    if missing:
        raise ModelLoadError(f"its {part.title} is incomplete: {len(missing)} of {len(wanted)} tensors are missing, such as {missing[0]!r}")
    state = {name: _weight(source, part, name, tuple(bare.shape), dtype) for name, bare in wanted.items()}
    _check_finite(part, state)
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What says so in the errors that have no type of their own: the CPU's, CUDA's beside PyTorch's own store, and its libraries'."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a device's or the machine's memory running out; PyTorch has no type of its own for the CPU's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def forget_frames(error: BaseException | None) -> None:
    """Forget the calls that failed: their variables hold the tensors, and whoever keeps the error would keep them alive."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        # a cleared frame still holds its function, and with it the variables of the function around
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def bare_module(part: Part) -> nn.Module:
    """The network without weights, on the meta device. Raises `ModelLoadError` with the reason where there is no such network."""
    from accelerate import init_empty_weights

    try:
        with init_empty_weights():
            return part.build()
    except _BUILD_FAILURES as error:
        raise ModelLoadError(f"its {part.title} has an unusual structure ({_first_line(error)})") from error


def _weight(source: WeightSource, part: Part, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    place, theirs = part.names[name], _file_name(part, name)
    found = source.tensor(theirs)
    if not found.is_floating_point():
        raise ModelLoadError(f"its {part.title} holds {theirs!r} as {str(found.dtype).removeprefix('torch.')}, which is not supported")
    if isinstance(place, Piece):
        found = place.cut(found)
    if tuple(found.shape) != shape and _without_ones(found) != _without_ones_of(shape):
        raise ModelLoadError(f"its {part.title} has {theirs!r} of shape {list(found.shape)} where {list(shape)} is expected")
    # a copy even where the type is right: weights that are views of a file would change, or crash us, when somebody replaces it
    return found.reshape(shape).to(dtype, copy=True, memory_format=torch.contiguous_format)


def _file_name(part: Part, name: str) -> str:
    """The checkpoint's tensor that the module's tensor `name` is made of."""
    place = part.names[name]
    return place.name if isinstance(place, Piece) else place


def _without_ones(tensor: Tensor) -> tuple[int, ...]:
    return _without_ones_of(tuple(tensor.shape))


def _without_ones_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape but for sides of 1 at its end: a 1x1 convolution and a linear layer hold the same numbers."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _check_finite(part: Part, state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        # a sum is one quick pass, and not finite if any number is not
        if bool(torch.isfinite(tensor.sum(dtype=torch.float32))) or bool(torch.isfinite(tensor).all()):
            continue
        half = tensor.dtype == torch.float16
        hint = "; if it is a float32 file, --no-half may help" if half else ""
        raise ModelLoadError(f"its {part.title} holds numbers that are not finite, in {_file_name(part, name)!r}{hint}")


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
