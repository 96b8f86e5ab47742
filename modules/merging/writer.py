"""How is a safetensors file written whose tensors are made one after the other? Its table first, then each tensor as it comes.

The format: eight bytes (little-endian) with the table's length, the table as JSON, the numbers without a gap.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.domain.errors import ModelLoadError

_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to be written."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def in_file_order(entries: Sequence[Entry]) -> list[Entry]:
    """The entries as the format's own writer sorts them: the widest numbers first, so that all of them are aligned."""
    return sorted(entries, key=lambda entry: (-entry.dtype.itemsize, entry.name))


def header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """All that stands before the numbers. Raises `ModelLoadError` with the reason for a number format that can't be written."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for entry in entries:
        if entry.dtype not in _DTYPES:
            raise ModelLoadError(f"its tensor {entry.name!r} is {str(entry.dtype).removeprefix('torch.')}, which can't be written")
        end = position + entry.bytes
        table[entry.name] = {"dtype": _DTYPES[entry.dtype], "shape": list(entry.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


@contextmanager
def writing(target: Path, temporary: Path, head: bytes, entries: Sequence[Entry]) -> Generator[Callable[[Tensor], None]]:
    """A function that takes the entries' tensors in their order. The file has its name only once it is complete and on the disk.

    `temporary` lies in the same folder and is gone afterwards, whatever happens. Raises OSError, FileExistsError where `target` is there.
    """
    left = list(reversed(entries))
    try:
        with temporary.open("wb") as file:
            file.write(head)

            def put(tensor: Tensor) -> None:
                entry = left.pop()
                if (tensor.dtype, tuple(tensor.shape)) != (entry.dtype, entry.shape):
                    raise ValueError(f"{entry.name} is {tensor.dtype} {tuple(tensor.shape)}, not what its table says")
                numbers: Any = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
                file.write(numbers)

            yield put
            if left:
                raise ValueError(f"{len(left)} tensors were not written")
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            raise FileExistsError(str(target))
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
