"""Which of a checkpoint's tensors does a LoRA change, and how? Files of the LoRA family put into the weights for good.

The model's modules are made without weights, only to look names and shapes up as for a model that is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.domain.networks import LoraInfo
from modules.families.base import Blueprint, Piece
from modules.networks.names import ModuleIndex
from modules.networks.patches import Change, Match, changed_weight, changes, match
from modules.weights.load import bare_module, naming
from modules.weights.network_files import NetworkFiles


@dataclass(frozen=True, slots=True)
class Patch:
    """The changes of one weight of a module, and where it lies in the file's tensor: all of it, or a piece."""

    piece: Piece | None
    shape: tuple[int, ...]
    """The weight's shape in the module; the file may hold the same numbers with other sides of 1."""
    tensor: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Patches:
    """What LoRAs change, by the checkpoint's names, and sentences about what did not fit."""

    by_name: Mapping[str, tuple[Patch, ...]]
    notes: tuple[str, ...] = ()

    def applied(self, name: str, weight: Tensor) -> Tensor:
        """The tensor `name` (float32) after all changes; the same one where there is none, else a new one."""
        if name not in self.by_name:
            return weight
        result = weight.clone()
        for patch in self.by_name[name]:
            place = result if patch.piece is None else patch.piece.cut(result)
            place.copy_(changed_weight(place.reshape(patch.shape), patch.tensor, patch.changes).reshape(place.shape))
        return result


NO_PATCHES = Patches({})


def patches_for(loras: Sequence[tuple[LoraInfo, float]], blueprint: Blueprint) -> Patches:
    """What these LoRAs, in order, do to a checkpoint of this blueprint. Raises `ModelLoadError` or `OutOfMemory` naming the file."""
    files, notes = NetworkFiles(), list[str]()
    modules = {role: bare_module(part) for role, part in blueprint.parts.items() if role != "vae"}
    index = ModuleIndex(modules)
    wanted: dict[tuple[str, str, str], tuple[Change, ...]] = {}
    for info, weight in loras:
        file = files.get(info)
        with naming(info.name):
            matched = match(file, index, modules)
            if not matched.pairs:
                raise ModelLoadError(f"none of its {len(file.modules)} modules is part of this checkpoint")
        notes += [*_lost(info, matched, file.strange), *(f"LoRA {info.stem!r}: {note}" for note in file.notes)]
        for target, change in changes(info.name, matched, te=weight, unet=weight, dim=None).items():
            key = (target.place.role, target.place.module, target.tensor)
            wanted[key] = (*wanted.get(key, ()), change)
    by_name: dict[str, tuple[Patch, ...]] = {}
    for (role, module, tensor), asked in wanted.items():
        place = blueprint.parts[role].names[f"{module}.{tensor}"]
        shape = tuple(getattr(modules[role].get_submodule(module), tensor).shape)
        name, piece = (place.name, place) if isinstance(place, Piece) else (place, None)
        by_name[name] = (*by_name.get(name, ()), Patch(piece, shape, tensor, asked))
    return Patches(by_name, tuple(notes))


def is_finite(tensor: Tensor) -> bool:
    """Whether all of a tensor's numbers are finite."""
    # a sum is one quick pass, and not finite if any number is not
    return bool(torch.isfinite(tensor.sum(dtype=torch.float32))) or bool(torch.isfinite(tensor.float()).all())


def _lost(info: LoraInfo, matched: Match, strange: Sequence[str]) -> list[str]:
    lost = (*matched.unmatched, *strange)
    total = len(lost) + len(matched.pairs)
    return [f"LoRA {info.stem!r}: {len(lost)} of its {total} modules fit nothing in this checkpoint, such as {lost[0]!r}."] if lost else []
