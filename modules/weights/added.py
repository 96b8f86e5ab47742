"""Which networks and textual inversions does the model in memory carry? The difference between that and what a spec asks is made here.

A file that can't be used changes nothing. When the change itself fails (memory, numbers out of range), the model is the bare checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from modules.domain.errors import ModelLoadError
from modules.domain.networks import EmbeddingInfo, LoraInfo, NetworkRef
from modules.domain.plans import ModelSpec
from modules.families.base import Model, Residency
from modules.networks.files import NetworkFile
from modules.networks.names import ModuleIndex
from modules.networks.patches import Match, Patches, changes, match
from modules.networks.textual_inversion import Vectors, fit, widths_of
from modules.weights.load import naming
from modules.weights.network_files import NetworkFiles, read_embedding

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Additions:
    """What a spec adds, read from its files: nothing of a model is touched yet. `refused` says why an embedding can't be used."""

    networks: tuple[tuple[NetworkRef, NetworkFile], ...]
    embeddings: tuple[tuple[EmbeddingInfo, Vectors], ...]
    refused: tuple[tuple[EmbeddingInfo, str], ...]


def read_additions(spec: ModelSpec, files: NetworkFiles) -> Additions:
    """Read what the spec adds. Raises `ModelLoadError` for a bad network; a bad embedding is only refused, since any word may name one."""
    networks = tuple((ref, files.get(ref.info)) for ref in spec.networks)
    embeddings = [(info, _vectors_or_reason(info)) for info in spec.embeddings]
    return Additions(
        networks,
        tuple((info, found) for info, found in embeddings if not isinstance(found, str)),
        tuple((info, found) for info, found in embeddings if isinstance(found, str)),
    )


def _vectors_or_reason(info: EmbeddingInfo) -> Vectors | str:
    try:
        return read_embedding(info)
    except ModelLoadError as error:
        return f"Textual inversion {info.word!r} was not used: {error}"


class AddedNetworks:
    """What one model carries besides its checkpoint."""

    def __init__(self, model: Model, residency: Residency) -> None:
        self._model = model
        self._residency = residency
        # not the VAE, which may be exchanged: it would be kept alive here
        self._patches = Patches({role: network for role, network in model.networks.items() if role != "vae"})
        self._index = ModuleIndex(model.networks)
        self._matches: dict[tuple[str, int, float], tuple[NetworkFile, Match]] = {}
        self._networks: Key = ()
        self._embeddings: Key = ()
        self._network_notes: tuple[str, ...] = ()
        self._refused: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the networks of now fit."""
        return (*self._network_notes, *self._refused.values())

    @property
    def refused_words(self) -> frozenset[str]:
        """Words of embeddings that the spec names and this model can't use."""
        return frozenset(self._refused)

    def holds(self, spec: ModelSpec) -> bool:
        """Whether exactly what the spec adds is there."""
        return (self._networks, self._embeddings) == (network_key(spec), embedding_key(spec))

    def put(self, spec: ModelSpec, additions: Additions) -> None:
        """Make what the spec adds all that is added. Raises `ModelLoadError` or `OutOfMemory` naming the file."""
        if self._networks != network_key(spec):
            self._put_networks(additions.networks)
            self._networks = network_key(spec)
        if self._embeddings != embedding_key(spec):
            self._put_embeddings(additions)
            self._embeddings = embedding_key(spec)

    def _put_networks(self, networks: Sequence[tuple[NetworkRef, NetworkFile]]) -> None:
        matches: dict[tuple[str, int, float], tuple[NetworkFile, Match]] = {}
        for ref, file in networks:
            matches[_key(ref.info)] = (file, self._match(ref.info, file))
        wanted = [changes(ref.info.name, matches[_key(ref.info)][1], te=ref.te, unet=ref.unet, dim=ref.dim) for ref, _ in networks]
        # from here on weights are touched: when that fails, they are the checkpoint's
        self._networks, self._network_notes = (), ()
        try:
            with naming(" + ".join(dict.fromkeys(ref.info.name for ref, _ in networks)) or "The checkpoint"):
                touched = self._patches.put(wanted, self._residency.device)
        except BaseException:
            self._model.forget_encodings()
            raise
        if any(role.startswith("text_encoder") for role in touched):
            self._model.forget_encodings()
        self._matches = matches
        self._network_notes = tuple(note for ref, file in networks for note in _notes(ref, file, matches[_key(ref.info)][1]))

    def _match(self, info: LoraInfo, file: NetworkFile) -> Match:
        known = self._matches.get(_key(info))
        if known is not None and known[0] is file:
            return known[1]
        with naming(info.name):
            try:
                matched = match(file, self._index, self._model.networks)
            except ModelLoadError as error:
                raise ModelLoadError(f"{error}{_made_for(file)}") from error
            if not matched.pairs:
                raise ModelLoadError(f"none of its {len(file.modules)} modules is part of this checkpoint{_made_for(file)}")
            return matched

    def _put_embeddings(self, additions: Additions) -> None:
        widths = {role: _width(network) for role, network in self._model.networks.items() if role.startswith("text_encoder")}
        refused = {info.word: reason for info, reason in additions.refused}
        fitting: dict[str, Mapping[str, Tensor]] = {}
        for info, vectors in additions.embeddings:
            found = fit(vectors, widths)
            if found is None:
                refused[info.word] = (
                    f"Textual inversion {info.word!r} was not used: {info.name} is for text encoders of width {widths_of(vectors)}, "
                    f"this checkpoint's have {' and '.join(map(str, widths.values()))}."
                )
            else:
                fitting[info.word] = found
        self._model.use_embeddings(fitting)
        self._refused = refused


def _width(text_encoder: nn.Module) -> int:
    return int(cast("Any", text_encoder).get_input_embeddings().embedding_dim)


def network_key(spec: ModelSpec) -> Key:
    """What makes a spec's networks others. (Their hashes and aliases may become known meanwhile.)"""
    return tuple((*_key(ref.info), ref.te, ref.unet, ref.dim) for ref in spec.networks)


def embedding_key(spec: ModelSpec) -> Key:
    """What makes a spec's embeddings others."""
    return tuple((_key(info), info.word) for info in spec.embeddings)


def _key(info: LoraInfo | EmbeddingInfo) -> tuple[str, int, float]:
    return (info.path, info.size, info.modified)


def _notes(ref: NetworkRef, file: NetworkFile, matched: Match) -> list[str]:
    notes: list[str] = []
    name = ref.mention or ref.info.stem
    lost = (*matched.unmatched, *file.strange)
    if lost:
        total = len(file.modules) + len(file.strange)
        notes.append(f"LoRA {name!r}: {len(lost)} of its {total} modules fit nothing in this checkpoint, such as {lost[0]!r}.")
    notes += [f"LoRA {name!r}: {note}" for note in file.notes]
    if ref.dim is not None and not all(module.algorithm is None or module.algorithm.dims for _, module in matched.pairs):
        notes.append(f"LoRA {name!r}: dyn={ref.dim} applies to plain LoRA modules only; the others of this file were used whole.")
    return notes


def _made_for(file: NetworkFile) -> str:
    base = file.metadata.get("ss_base_model_version", "")
    return f" (its trainer says that it is for {base[:40]!r})" if base else "; it seems to be for another kind of model"
