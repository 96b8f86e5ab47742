"""How are network files read? Opened, checked and kept: those in use, and as many others as fit, since strengths change often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.networks.files import NetworkFile, parse
from modules.networks.textual_inversion import Vectors, data_in_picture, read_vectors
from modules.weights.header import read_header_and_metadata
from modules.weights.load import naming
from modules.weights.png_text import EMBEDDING_KEY, png_text
from modules.weights.sources import open_source, read_pickled

KEPT_BYTES = 512 * 1024 * 1024
"""How much of the main memory the parsed files may take up together; one that is larger is kept alone."""

MAX_CONFIG = 1_000_000
"""Bytes of a configuration beside a file that are read."""

FileKey = tuple[str, int, float]


class NetworkFiles:
    """LoRA files as they were parsed, the last used ones. What is in use stays with whoever uses it."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._files: OrderedDict[FileKey, NetworkFile] = OrderedDict()

    def get(self, info: LoraInfo) -> NetworkFile:
        """The file's content. Raises `ModelLoadError` or `OutOfMemory` naming the file."""
        key = (info.path, info.size, info.modified)
        if key not in self._files:
            with naming(info.name):
                self._files[key] = _read_lora(Path(info.path))
        self._files.move_to_end(key)
        while len(self._files) > 1 and sum(file.bytes for file in self._files.values()) > self._kept_bytes:
            self._files.popitem(last=False)
        return self._files[key]

    def clear(self) -> None:
        """Forget all files."""
        self._files.clear()


def read_embedding(info: EmbeddingInfo) -> Vectors:
    """A textual inversion's vectors. Raises `ModelLoadError` or `OutOfMemory` naming the file."""
    path = Path(info.path)
    with naming(info.name):
        return read_vectors(_embedding_data(path))


def _read_lora(path: Path) -> NetworkFile:
    safe = path.suffix.lower() == ".safetensors"
    with open_source(path, "safetensors" if safe else "ckpt") as source:
        metadata: Mapping[str, str] = read_header_and_metadata(path)[1] if safe else {}
        # copies: views of the file would change, or crash us, when somebody replaces it
        tensors: dict[str, Tensor] = {name: source.tensor(name).clone() for name in source.shapes}
        return parse(tensors, metadata, _adapter_config(path))


def _adapter_config(path: Path) -> str:
    """The text of peft's configuration beside the file; empty where there is none that can be read."""
    beside = path.with_name("adapter_config.json")
    try:
        return beside.read_text("utf-8") if beside.stat().st_size <= MAX_CONFIG else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _embedding_data(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        with open_source(path, "safetensors") as source:
            return {name: source.tensor(name).clone() for name in source.shapes}
    if path.suffix.lower() == ".png":
        text = png_text(path, EMBEDDING_KEY)
        if text is None:
            raise ModelLoadError("it is a picture without an embedding in it")
        return data_in_picture(text)
    if not path.is_file():
        raise ModelLoadError("it is not there any more" if not path.exists() else "it is not a file")
    return read_pickled(path)
