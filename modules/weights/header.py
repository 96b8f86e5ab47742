"""What does a safetensors file say it holds, and is that possible? The header read and checked before anything trusts it.

Pure bytes and numbers: it knows neither torch nor models.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from modules.domain.errors import ModelLoadError

MAX_HEADER = 100_000_000
"""The format's own limit, in bytes."""

_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

_NOT_WEIGHTS = (
    (b"<!doctype", "it is a web page, not a model: the download went wrong"),
    (b"<html", "it is a web page, not a model: the download went wrong"),
    (b"version https://git-lfs", "it is a Git LFS pointer, not the model itself"),
    (b"pk\x03\x04", "it is a zip archive or a pickled checkpoint with the wrong ending"),
    (b"gguf", "it is a GGUF file with the wrong ending"),
)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file by name. Raises `ModelLoadError` with the reason (not the name) for a damaged or foreign file,
    OSError for an unreadable one."""
    return read_header_and_metadata(path)[0]


def read_header_and_metadata(path: Path) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """As `read_header`, and the free text that a file may carry about itself."""
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = _header_bytes(file, size)
    table = _table(raw)
    metadata = table.get("__metadata__")
    texts = cast("dict[Any, Any]", metadata) if isinstance(metadata, dict) else {}
    return _entries(table, size - 8 - len(raw)), {key: value for key, value in texts.items() if isinstance(value, str)}


def data_start(path: Path) -> int:
    """Where the numbers of a safetensors file begin. Raises as `read_header`."""
    with path.open("rb") as file:
        return 8 + len(_header_bytes(file, path.stat().st_size))


def _header_bytes(file: BinaryIO, size: int) -> bytes:
    if size == 0:
        raise ModelLoadError("it is empty (0 bytes)")
    start = file.read(32)
    for magic, reason in _NOT_WEIGHTS:
        if start.lower().lstrip().startswith(magic):
            raise ModelLoadError(reason)
    if size < 8:
        raise ModelLoadError(f"it is too short ({size} bytes)")
    (length,) = struct.unpack("<Q", start[:8])
    if start[8:9] != b"{" or length > MAX_HEADER:
        raise ModelLoadError("it is not a safetensors file")
    if 8 + length > size:
        raise ModelLoadError("it is truncated: not even its table of contents is complete")
    return start[8 : 8 + length] + file.read(max(0, length - len(start[8:])))


def _table(raw: bytes) -> dict[str, Any]:
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelLoadError("its table of contents is damaged") from error
    if not isinstance(table, dict):
        raise ModelLoadError("its table of contents is damaged")
    return cast("dict[str, Any]", table)


def _entries(table: Mapping[str, Any], available: int) -> dict[str, TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int]] = []
    for name, item in table.items():
        if name == "__metadata__":
            continue
        entry, begin, end = _entry(name, item)
        entries[name] = entry
        spans.append((begin, end))
    _check_spans(spans, available)
    return entries


def _entry(name: str, item: Any) -> tuple[TensorEntry, int, int]:
    fields = cast("Mapping[str, Any]", item) if isinstance(item, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise ModelLoadError(f"its table of contents is damaged at {name[:80]!r}")
    begin, end = offsets
    if dtype not in _BITS:
        raise ModelLoadError(f"its tensor {name[:80]!r} has the unknown number format {dtype[:20]!r}")
    if begin > end or math.prod(shape) * _BITS[dtype] != (end - begin) * 8:
        raise ModelLoadError(f"its tensor {name[:80]!r} does not have the size that its shape needs")
    return TensorEntry(dtype, shape), begin, end


def _sizes(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 2**53 for item in cast("list[Any]", value)):
        return None
    return tuple(cast("list[int]", value))


def _check_spans(spans: list[tuple[int, int]], available: int) -> None:
    """The tensors must fill the file without gap or overlap: two readers must not be able to disagree about it."""
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ModelLoadError("its table of contents is damaged: tensors overlap or leave gaps")
        position = end
    if position > available:
        raise ModelLoadError(f"it is truncated: {position - available:,} of {position:,} bytes are missing; download it again")
    if position < available:
        raise ModelLoadError(f"it has {available - position:,} bytes too many at its end")
