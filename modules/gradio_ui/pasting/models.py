"""Which files here are those that a picture was made with? By hash where the text has one and the file's is known, else by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from modules.domain.catalog import Catalog, CheckpointInfo, VaeInfo
from modules.domain.errors import ModelNotFound
from modules.domain.networks import EmbeddingInfo, LoraInfo, find_lora
from modules.imaging.reproduction import Match, ModelMatch, named_hashes
from modules.prompts.network_tags import extract_network_tags

_File = TypeVar("_File", CheckpointInfo, VaeInfo, LoraInfo, EmbeddingInfo)

_SHORTEST_HASH = 10
"""Digits. The 8 of A1111's first hashes were made in a way that tells little about a file, so they are not compared."""


def checkpoint_match(found: Mapping[str, str], catalog: Catalog) -> tuple[CheckpointInfo | None, ModelMatch | None]:
    """The picture's checkpoint here, and how sure that is; None where the text names none."""
    name, digest = found.get("Model", ""), found.get("Model hash", "").casefold()
    if not name and not digest:
        return None, None
    info, match = _matched(name, catalog.checkpoint, digest, catalog.checkpoints, lambda row: row.sha256)
    return info, ModelMatch("checkpoint", name or digest, digest, info.name if info else "", match)


def vae_match(found: Mapping[str, str], catalog: Catalog) -> tuple[VaeInfo | None, ModelMatch | None]:
    """The picture's VAE file here, and how sure that is; None where the text names none."""
    name, digest = found.get("VAE", ""), found.get("VAE hash", "").casefold()
    if not name and not digest:
        return None, None
    info, match = _matched(name, catalog.vae, digest, catalog.vaes, lambda row: row.sha256)
    return info, ModelMatch("VAE", name or digest, digest, info.name if info else "", match)


def lora_matches(found: Mapping[str, str], texts: Sequence[str], catalog: Catalog) -> tuple[tuple[ModelMatch, ...], dict[str, str]]:
    """How sure each LoRA is that the prompts name, and (name in the tag -> name here) of those that are called otherwise here."""
    digests = {_bare(name): digest for name, digest in named_hashes(found.get("Lora hashes", ""))}
    matches: list[ModelMatch] = []
    renamed: dict[str, str] = {}
    for name in dict.fromkeys(_lora_names(texts)):
        digest = digests.get(_bare(name), "")
        info, match = _matched(name, catalog.lora, digest, catalog.loras, lambda row: row.digest)
        here = _tag_name(info, catalog.loras) if info else ""
        if match == "renamed":
            renamed[name] = here
        matches.append(ModelMatch("LoRA", name, digest, here, match))
    return tuple(matches), renamed


def embedding_matches(found: Mapping[str, str], catalog: Catalog) -> tuple[ModelMatch, ...]:
    """How sure each textual inversion is that the text gives a hash of."""
    matches: list[ModelMatch] = []
    for name, digest in named_hashes(found.get("TI hashes", "")):
        info, match = _matched(name, partial(_of_word, catalog.embeddings), digest, catalog.embeddings, lambda row: row.sha256)
        matches.append(ModelMatch("textual inversion", name, digest, info.word if info else "", match))
    return tuple(matches)


def with_renamed(prompt: str, renamed: Mapping[str, str]) -> str:
    """The prompt with the names in its LoRA tags replaced."""

    def here(tag: re.Match[str]) -> str:
        return f"<lora:{renamed.get(tag.group(1).strip(), tag.group(1))}{tag.group(2)}"

    return re.sub(r"<lora:([^:<>]*)([:>])", here, prompt) if renamed else prompt


def _matched(
    name: str, look_up: Callable[[str], _File], digest: str, rows: Sequence[_File], hash_of: Callable[[_File], str | None]
) -> tuple[_File | None, Match]:
    """The file to take: of the picture's hash if there is one, else of its name."""
    by_name = _named(name, look_up)
    if len(digest) >= _SHORTEST_HASH:

        def is_it(row: _File) -> bool:
            return (hash_of(row) or "").casefold().startswith(digest)

        if by_name is not None and is_it(by_name):
            return by_name, "same"
        by_hash = next((row for row in rows if is_it(row)), None)
        if by_hash is not None:
            return by_hash, "renamed" if name else "same"
        if by_name is not None and hash_of(by_name):
            return by_name, "different"
    return by_name, "unverified" if by_name is not None else "missing"


def _named(name: str, look_up: Callable[[str], _File]) -> _File | None:
    try:
        return look_up(name) if name else None
    except ModelNotFound:
        return None


def _of_word(rows: Sequence[EmbeddingInfo], word: str) -> EmbeddingInfo:
    for row in rows:
        if row.word.casefold() == word.casefold():
            return row
    raise ModelNotFound(f"There is no textual inversion called {word!r}.")


def _lora_names(texts: Sequence[str]) -> list[str]:
    tags = [tag for text in texts for tag in extract_network_tags(text)[1] if tag.kind == "lora" and tag.values]
    return [tag.values[0].strip() for tag in tags if tag.values[0].strip()]


def _bare(name: str) -> str:
    """A name as lists of hashes have it: without the marks that they are made of."""
    return re.sub("[:,]", "", name).strip().casefold()


def _tag_name(info: LoraInfo, rows: Sequence[LoraInfo]) -> str:
    """The shortest name that means this file alone."""
    try:
        return info.stem if find_lora(info.stem, rows) == info else info.name
    except ModelNotFound:
        return info.name
