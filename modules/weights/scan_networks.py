"""Which LoRAs and textual inversions are there? Their rows for the catalogue, and what their headers say, read in the background.

It reads directory entries and headers, never weights other than to hash them; it must not import torch.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from modules.domain.errors import ModelLoadError
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.weights.folders import FoundFile, unique, walk_all
from modules.weights.hashes import DATA, HashCache
from modules.weights.header import data_start, read_header_and_metadata
from modules.weights.png_text import EMBEDDING_KEY, png_text

LORA_SUFFIXES = (".safetensors", ".pt", ".ckpt")
EMBEDDING_SUFFIXES = (".safetensors", ".pt", ".bin", ".png")

Known = Mapping[tuple[str, int, int], str]
"""Digests by path, size and modification time, as `HashCache.entries` gives them."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a header says: a LoRA's alias, base model and hash, an embedding's number of vectors."""

    alias: str = ""
    made_for: str = ""
    digest: str | None = None
    vectors: int | None = None


class NetworkFolders:
    """The folders of both kinds. Facts that were read once are kept for as long as their file stays what it is."""

    def __init__(self, loras: Sequence[Path], embeddings: Sequence[Path]) -> None:
        self._lora_roots = tuple(loras)
        self._embedding_roots = tuple(embeddings)
        self._facts: dict[tuple[str, int, int], _Facts] = {}
        self._pictures: dict[tuple[str, int, int], str | None] = {}

    def loras(self, known: Known) -> tuple[LoraInfo, ...]:
        """The LoRA files of now; what their headers say is in the rows as far as `read_facts` has come."""
        return tuple(self._lora(found, known) for found in unique(walk_all(self._lora_roots, LORA_SUFFIXES, folders=False)))

    def embeddings(self, known: Known) -> tuple[EmbeddingInfo, ...]:
        """The textual inversions of now. A picture is one only if there is an embedding inside it, else it is another file's preview."""
        found = unique(walk_all(self._embedding_roots, EMBEDDING_SUFFIXES, folders=False))
        words = [(item, self._word(item)) for item in found]
        return tuple(self._embedding(item, word, known) for item, word in words if word)

    def read_facts(self, stopped: Callable[[], bool]) -> bool:
        """Read the headers that were not read yet. True where there is something new to tell."""
        roots = (*self._lora_roots, *self._embedding_roots)
        new = [found for found in walk_all(roots, (".safetensors",), folders=False) if _key(found) not in self._facts]
        for found in new:
            if stopped():
                return False
            self._facts[_key(found)] = _read_facts(Path(found.path))
        return bool(new)

    def _lora(self, found: FoundFile, known: Known) -> LoraInfo:
        facts = self._facts.get(_key(found), _Facts())
        # the last word is the trainer's: A1111 believes it too
        digest = facts.digest or known.get((f"{found.path}{DATA}", found.size, found.mtime_ns))
        if not found.name.lower().endswith(".safetensors"):
            digest = known.get(_key(found))
        return LoraInfo(
            name=found.name,
            path=found.path,
            size=found.size,
            modified=found.mtime_ns / 1e9,
            alias=facts.alias,
            made_for=facts.made_for,
            digest=digest,
        )

    def _embedding(self, found: FoundFile, word: str, known: Known) -> EmbeddingInfo:
        return EmbeddingInfo(
            name=found.name,
            path=found.path,
            word=word,
            size=found.size,
            modified=found.mtime_ns / 1e9,
            vectors=self._facts.get(_key(found), _Facts()).vectors,
            sha256=known.get(_key(found)),
        )

    def _word(self, found: FoundFile) -> str | None:
        """What stands for the file in a prompt: its stem, but a picture's embedding has a name of its own; None for a plain picture."""
        if not found.name.lower().endswith(".png"):
            return Path(found.name).stem
        if _key(found) not in self._pictures:
            self._pictures[_key(found)] = _word_in_picture(Path(found.path))
        return self._pictures[_key(found)]


def lora_digest(info: LoraInfo, hashes: HashCache, stopped: Callable[[], bool] = lambda: False) -> str | None:
    """A1111's hash of a LoRA: what its trainer wrote down, else of the file without its header, else of a file of another kind as a whole.

    None when `stopped` said so. Raises OSError and `ModelLoadError` for a file that can't be read.
    """
    path = Path(info.path)
    if path.suffix.lower() != ".safetensors":
        return hashes.sha256(path, stopped)
    return _trainers_hash(read_header_and_metadata(path)[1]) or hashes.sha256(path, stopped, skip=data_start)


def _read_facts(path: Path) -> _Facts:
    try:
        entries, metadata = read_header_and_metadata(path)
    except (OSError, ModelLoadError):
        return _Facts()  # using it says what is wrong with the file
    rows = {entry.shape[0] if len(entry.shape) == 2 else 1 for entry in entries.values() if entry.shape}
    return _Facts(
        alias=metadata.get("ss_output_name", ""),
        made_for=metadata.get("ss_base_model_version", ""),
        digest=_trainers_hash(metadata),
        vectors=next(iter(rows)) if len(rows) == 1 else None,
    )


def _trainers_hash(metadata: Mapping[str, str]) -> str | None:
    digest = metadata.get("sshs_model_hash", "")
    return digest if re.fullmatch(r"[0-9a-f]{12,64}", digest) else None


def _word_in_picture(path: Path) -> str | None:
    try:
        text = png_text(path, EMBEDDING_KEY)
        data: Any = json.loads(base64.b64decode(text)) if text is not None else None
    except OSError:
        return None
    except (ValueError, RecursionError):
        return path.stem  # using it says what is wrong with the file
    if data is None:
        return None
    name = cast("Mapping[str, Any]", data).get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) and name.strip() else path.stem


def _key(found: FoundFile) -> tuple[str, int, int]:
    return (found.path, found.size, found.mtime_ns)
