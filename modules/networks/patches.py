"""Which weights of the model are changed, by what, and what were they before? Changes are put in place, and taken back bit by bit.

The originals of changed weights are kept in main memory. A change of strength starts from them again, so nothing accumulates.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modules.domain.errors import ModelLoadError
from modules.networks.algorithms import delta
from modules.networks.files import AddedModule, NetworkFile
from modules.networks.names import ModuleIndex, Place

log = logging.getLogger(__name__)

LATENT, WITH_MORE = 4, (8, 9)
"""Input channels of UNets that read a latent alone, and of those that read a picture, or a mask and a picture, beside it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One tensor of the model: a module's `weight` or `bias`."""

    place: Place
    tensor: str


@dataclass(frozen=True, slots=True)
class Change:
    """What one file does to one tensor at one strength. Changes of equal `key` are the same change."""

    file: str
    module: AddedModule
    strength: float
    dim: int | None

    @property
    def key(self) -> tuple[int, float, int | None]:
        return (id(self.module), self.strength, self.dim)


@dataclass(frozen=True, slots=True)
class Match:
    """Which module of a file belongs to which of the model; `unmatched` are the names of those that belong to none."""

    pairs: tuple[tuple[Place, AddedModule], ...]
    unmatched: tuple[str, ...]


def match(file: NetworkFile, index: ModuleIndex, networks: Mapping[str, nn.Module]) -> Match:
    """Find each of the file's modules in the model. Raises `ModelLoadError` where one is there but of another size."""
    pairs: list[tuple[Place, AddedModule]] = []
    unmatched: list[str] = []
    for module in file.modules:
        place = index.find(module.name)
        layer = None if place is None else networks[place.role].get_submodule(place.module)
        # a layer without a bias is another layer than the one that learnt to change its bias
        if place is None or layer is None or (module.bias is not None and getattr(layer, "bias", None) is None):
            unmatched.append(module.name)
            continue
        _check_fit(layer, module)
        pairs.append((place, module))
    return Match(tuple(pairs), tuple(unmatched))


def changes(name: str, matched: Match, *, te: float, unet: float, dim: int | None) -> dict[Target, Change]:
    """What a matched file does at these strengths; nothing to what has strength 0."""
    result: dict[Target, Change] = {}
    for place, module in matched.pairs:
        strength = unet if place.role == "unet" else te
        if strength == 0.0:
            continue
        if module.algorithm is not None:
            result[Target(place, "weight")] = Change(name, module, strength, dim)
        if module.bias is not None:
            result[Target(place, "bias")] = Change(name, module, strength, dim)
    return result


class Patches:
    """The changed weights of one model's networks. After any failure all weights are the originals."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = dict(networks)
        self._originals: dict[Target, Tensor] = {}
        self._applied: dict[Target, tuple[Change, ...]] = {}

    def put(self, wanted: Sequence[Mapping[Target, Change]], device: torch.device) -> frozenset[str]:
        """Make `wanted`, file after file, all that is changed; the work is done on `device`. The roles of the networks that were touched.

        Raises `ModelLoadError` where the result would be no numbers.
        """
        asked: dict[Target, tuple[Change, ...]] = {}
        for file in wanted:
            for target, change in file.items():
                asked[target] = (*asked.get(target, ()), change)
        different = [target for target in {**self._applied, **asked} if _keys(self._applied.get(target)) != _keys(asked.get(target))]
        try:
            for target in different:
                self._set(target, asked.get(target, ()), device)
        except BaseException:
            self.restore()
            raise
        return frozenset(target.place.role for target in different)

    def restore(self) -> None:
        """Give every changed weight its original back."""
        for target in list(self._applied):
            self._set_back(target)
        self._originals.clear()

    def _set(self, target: Target, asked: tuple[Change, ...], device: torch.device) -> None:
        if not asked:
            self._set_back(target)
            return
        weight = stored(self._networks[target.place.role].get_submodule(target.place.module), target.tensor)
        if target not in self._originals:
            self._originals[target] = weight.detach().to("cpu", copy=True)
        changed = changed_weight(self._originals[target].to(device, torch.float32), target.tensor, asked).to(weight.dtype)
        # a sum is one quick pass, and not finite if any number is not
        if not bool(torch.isfinite(changed.sum(dtype=torch.float32))) and not bool(torch.isfinite(changed).all()):
            raise ModelLoadError(f"at this strength it makes numbers that are not finite, in {asked[-1].module.name!r}")
        # noted before it is done: what is half copied when the device fails is put back too
        self._applied[target] = asked
        _write(weight, changed)

    def _set_back(self, target: Target) -> None:
        weight = stored(self._networks[target.place.role].get_submodule(target.place.module), target.tensor)
        _write(weight, self._originals[target])
        del self._originals[target], self._applied[target]


@torch.no_grad()
def changed_weight(weight: Tensor, tensor: str, asked: Sequence[Change]) -> Tensor:
    """`weight` (float32) after one change after the other, as A1111 stacks them: a later one sees what an earlier one made."""
    for change in asked:
        module = change.module
        if tensor == "bias":
            difference = cast("Tensor", module.bias).to(weight.device, weight.dtype).reshape(weight.shape)
        else:
            difference = _weight_delta(module, weight, change.dim)
        weight = weight.add(difference, alpha=change.strength)
    return weight


def stored(module: nn.Module, name: str) -> Tensor:
    """Where a module's tensor really lies: in the module, or with the hook that streams it to the device when it is used."""
    tensor: Tensor = getattr(module, name)
    if not tensor.is_meta:
        return tensor
    weights: Any = getattr(module, "_hf_hook", None)
    return weights.weights_map[name]


def _weight_delta(module: AddedModule, weight: Tensor, dim: int | None) -> Tensor:
    if module.algorithm is None:
        raise ValueError(f"{module.name} does not change a weight")
    parts = {name: part.to(weight.device, weight.dtype) for name, part in module.parts.items()}
    # what was learnt by a model that reads a latent alone leaves a first convolution's further channels as they are
    more = weight.shape[1] - LATENT if weight.dim() == 4 and weight.shape[1] in WITH_MORE and not _fits(module, weight.shape) else 0
    change = delta(module.algorithm, parts, module.alpha, weight[:, :LATENT] if more else weight, dim)
    return F.pad(change, (0, 0, 0, 0, 0, more)) if more else change


def _fits(module: AddedModule, shape: torch.Size) -> bool:
    """Whether the module's change can be one of this shape; computed without numbers."""
    bare = {name: torch.empty(part.shape, device="meta") for name, part in module.parts.items()}
    weight = torch.empty(shape, device="meta")
    try:
        return module.algorithm is not None and delta(module.algorithm, bare, module.alpha, weight).shape == shape
    except (RuntimeError, IndexError, ValueError):
        return False


@torch.no_grad()
def _write(weight: Tensor, value: Tensor) -> None:
    weight.copy_(value)


def _keys(asked: tuple[Change, ...] | None) -> tuple[tuple[int, float, int | None], ...]:
    return tuple(change.key for change in asked or ())


def _check_fit(module: nn.Module, added: AddedModule) -> None:
    """Do the whole computation without numbers: shapes that don't go together show before anything is touched."""
    weight = cast("Tensor", module.weight)
    bare = torch.empty(weight.shape, device="meta")
    if added.algorithm is not None:
        try:
            shape = _weight_delta(added, bare, None).shape
        except (RuntimeError, IndexError, ValueError) as error:
            raise ModelLoadError(_misfit(added, weight)) from error
        if shape != weight.shape:
            raise ModelLoadError(_misfit(added, weight))
    if added.bias is not None:
        bias = cast("Tensor", module.bias)
        if bias.numel() != added.bias.numel():
            raise ModelLoadError(
                f"it changes the bias of {added.name!r} by {added.bias.numel()} numbers, but this model's has {bias.numel()}"
            )


def _misfit(added: AddedModule, weight: Tensor) -> str:
    shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in sorted(added.parts.items()))
    return f"its {added.name!r} ({shapes}) does not fit this model's weight of shape {list(weight.shape)}"
