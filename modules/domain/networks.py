"""What can be added to a model? The nouns: LoRA files, textual inversions, and which of them a plan asks for with which strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from modules.domain.errors import ModelNotFound

SHORT_HASH = 12
"""Digits of the hashes by which A1111's infotext names networks."""

MAX_VECTORS = 75
"""A textual inversion has to fit into one chunk of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraInfo:
    """One file of the LoRA family. `name` is its path below the LoRA folder with forward slashes, and is unique."""

    name: str
    path: str
    size: int = 0
    modified: float = 0.0
    alias: str = ""
    """What its trainer called it (`ss_output_name`); empty until the background reader has looked, and where the file does not say."""
    made_for: str = ""
    """Which base model its trainer had (`ss_base_model_version`), as the file says it."""
    digest: str | None = None
    """A1111's network hash: sha256 of the file without its header, or what the trainer wrote down as such. None until it is known."""

    @property
    def stem(self) -> str:
        """The file's name without folder and extension: what people write into a prompt."""
        return _without_suffix(self.name.rsplit("/", 1)[-1])

    @property
    def short_hash(self) -> str | None:
        return self.digest[:SHORT_HASH] if self.digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingInfo:
    """One textual inversion file; `word` is what stands for it in a prompt."""

    name: str
    path: str
    word: str
    size: int = 0
    modified: float = 0.0
    vectors: int | None = None
    """How many tokens' places it takes up, where the file says so without being loaded."""
    sha256: str | None = None

    @property
    def short_hash(self) -> str | None:
        return self.sha256[:SHORT_HASH] if self.sha256 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRef:
    """A LoRA that a plan adds: how strongly to the text encoders, how strongly to the UNet, and with how many of its ranks (None: all)."""

    info: LoraInfo
    te: float = 1.0
    unet: float = 1.0
    dim: int | None = None
    mention: str = ""
    """How the prompt called it; the infotext does too."""


def find_lora(text: str, rows: Sequence[LoraInfo]) -> LoraInfo:
    """The LoRA called `text`: its full name, the same without ending, its stem or its alias, in any letter case, in this order.

    Raises `ModelNotFound` with the nearest names, or with the candidates where several answer to it.
    """
    wanted = text.strip().replace("\\", "/").casefold()
    for rank in range(4):
        hits = [row for row in rows if _names(row)[rank].casefold() == wanted]
        if len(hits) == 1:
            return hits[0]
        if hits:
            candidates = ", ".join(_without_suffix(row.name) for row in hits)
            raise ModelNotFound(f"More than one LoRA is called {text!r}: {candidates}. Write the full name.")
    near = get_close_matches(wanted, list(dict.fromkeys(row.stem.casefold() for row in rows)), n=3, cutoff=0.6)
    stems = {row.stem.casefold(): row.stem for row in rows}
    hint = f"The nearest names are {', '.join(stems[name] for name in near)}." if near else "Refresh the list if the file is new."
    raise ModelNotFound(f"LoRA {text!r} was not found. {hint}")


def _names(row: LoraInfo) -> tuple[str, str, str, str]:
    return (row.name, _without_suffix(row.name), row.stem, row.alias)


def _without_suffix(name: str) -> str:
    return name.rsplit(".", 1)[0] if "." in name.rsplit("/", 1)[-1] else name
