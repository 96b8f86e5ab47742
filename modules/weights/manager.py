"""Which model is on the device, and how does another one get there? `acquire` makes the difference between two specs and lends the model.

A model that can't be loaded changes nothing: the one before stays. Others that were in use may be kept aside, off the device, so that going
back to them reads no file.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from torch import nn

from modules.domain.catalog import CheckpointInfo, VaeInfo
from modules.domain.errors import ModelLoadError
from modules.domain.plans import ModelSpec
from modules.families import registry
from modules.families.base import Blueprint, LoadedModel, Model, ModelFamily, Part
from modules.families.tiling import tileable
from modules.weights.added import AddedNetworks, read_additions
from modules.weights.load import load_part, naming
from modules.weights.network_files import NetworkFiles
from modules.weights.placement import Placement, release_memory
from modules.weights.residency import DeviceOptions
from modules.weights.sources import WeightSource, open_source

log = logging.getLogger(__name__)

FileKey = tuple[str, int, float]
"""Path, size and modification time: what makes a file another one. (Its hash may become known while it is loaded.)"""


@dataclass(frozen=True, slots=True)
class _Resident:
    checkpoint: FileKey
    vae: FileKey | None
    family: ModelFamily
    model: Model
    added: AddedNetworks


class ModelManager:
    """Holds one model for use, and aside as many others as `keep` allows. Not for several threads at once."""

    def __init__(self, options: DeviceOptions) -> None:
        self.placement = Placement(options)
        self._files = NetworkFiles()
        self._resident: _Resident | None = None
        self._aside: list[_Resident] = []  # the one that was used last at the end
        self._kept = 1
        self._lent = 0  # how many of those who asked have not come back yet

    def keep(self, count: int) -> None:
        """How many models may be in memory, the one in use included."""
        self._kept = count
        self._drop_surplus()

    def holds(self, spec: ModelSpec) -> bool:
        """Whether `acquire` would have nothing to do."""
        return self.holds_bare(spec) and self._resident is not None and self._resident.added.holds(spec)

    def holds_bare(self, spec: ModelSpec) -> bool:
        """Whether checkpoint and VAE are there, whatever is added to them."""
        now = self._resident
        return now is not None and now.checkpoint == _key(spec.checkpoint) and now.vae == _vae_key(spec)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the networks in use fit the model."""
        return self._resident.added.notes if self._resident is not None else ()

    @property
    def refused_words(self) -> frozenset[str]:
        """Textual inversions that the last spec named and its model can't use."""
        return self._resident.added.refused_words if self._resident is not None else frozenset()

    @contextmanager
    def acquire(self, spec: ModelSpec) -> Generator[LoadedModel]:
        """Lend the model of `spec`, loading what is not there. Raises `ModelLoadError` or `OutOfMemory`; the model before stays then."""
        additions = read_additions(spec, self._files) if not self.holds(spec) else None
        model = self._get(spec)
        if additions is not None and self._resident is not None:
            self._resident.added.put(spec, additions)
        del additions
        self._lent += 1
        try:
            with tileable([model.networks["unet"], model.networks["vae"]] if spec.tiling else []):
                yield model
        finally:
            self._lent -= 1

    def unload(self) -> None:
        """Hold no model, and give the memory of all back."""
        self._resident = None
        self._aside.clear()
        self._files.clear()
        self.placement.forget()
        release_memory()

    def _get(self, spec: ModelSpec) -> Model:
        # no local variable here holds the model before, or its memory could not be given back
        if self._resident is None or self._resident.checkpoint != _key(spec.checkpoint):
            found = next((number for number, other in enumerate(self._aside) if other.checkpoint == _key(spec.checkpoint)), None)
            if found is None:
                return self._swap_checkpoint(spec)
            self._hold(self._aside.pop(found))
            assert self._resident is not None, "it is held now"
        if self._resident.vae != _vae_key(spec):
            return self._swap_vae(self._resident, spec)
        return self._resident.model

    def _swap_checkpoint(self, spec: ModelSpec) -> Model:
        checkpoint, started = spec.checkpoint, time.monotonic()
        with naming(checkpoint.name), open_source(Path(checkpoint.path), checkpoint.format) as source:
            family = registry.detect(source.shapes)
            blueprint = family.blueprint(source.shapes, source.config)
            if spec.vae is None:
                _own_vae(blueprint)
            self._make_room(blueprint, source)
            roles = [role for role in blueprint.parts if role != "vae" or spec.vae is None]
            networks = {role: self._load(role, blueprint.parts[role], source) for role in roles}
        if spec.vae is not None:
            networks["vae"] = self._load_vae_file(family, spec.vae, blueprint.facts.latent_channels)
        model = family.assemble(blueprint, networks, self.placement)
        self._hold(_Resident(_key(checkpoint), _vae_key(spec), family, model, AddedNetworks(model, self.placement)))
        log.info("Loaded %s in %.1f s", checkpoint.name, time.monotonic() - started)
        return model

    def _swap_vae(self, now: _Resident, spec: ModelSpec) -> Model:
        channels = now.model.facts.latent_channels
        if spec.vae is not None:
            vae = self._load_vae_file(now.family, spec.vae, channels)
        else:
            with naming(spec.checkpoint.name), open_source(Path(spec.checkpoint.path), spec.checkpoint.format) as source:
                vae = self._load("vae", _own_vae(now.family.blueprint(source.shapes, source.config)), source)
        now.model.replace_vae(vae)
        self._hold(_Resident(now.checkpoint, _vae_key(spec), now.family, now.model, now.added))
        return now.model

    def _load_vae_file(self, family: ModelFamily, info: VaeInfo, latent_channels: int) -> nn.Module:
        file_format = "safetensors" if info.path.lower().endswith(".safetensors") else "ckpt"
        with naming(info.name), open_source(Path(info.path), file_format) as source:
            return self._load("vae", family.vae_part(source.shapes, latent_channels), source)

    def _load(self, role: str, part: Part, source: WeightSource) -> nn.Module:
        return load_part(part, source, self.placement.dtype(role))

    def _make_room(self, blueprint: Blueprint, source: WeightSource) -> None:
        """Drop models that are kept aside, and the one before, if the machine can't hold them all. Otherwise it stays until the new one is
        complete."""
        needed = sum(
            math.prod(source.shapes.get(name, ())) * self.placement.dtype(role).itemsize
            for role, part in blueprint.parts.items()
            for name in part.file_names
        )
        while self._aside and psutil.virtual_memory().available < needed * 1.2:
            log.info("There is not memory for one more model: one that was kept aside goes")
            del self._aside[0]
            release_memory()
        if self._resident is not None and psutil.virtual_memory().available < needed * 1.2:
            log.info("There is not memory for two models: the one in use goes first")
            self.unload()

    def _hold(self, resident: _Resident) -> None:
        """Make this the model in use. The one before is put aside, where it is another one and one more may be kept; where somebody holds
        it still, as a refiner's base is, it leaves the device at least."""
        before, self._resident = self._resident, resident
        if before is not None and before.model is not resident.model and (self._kept > 1 or self._lent):
            moved = self.placement.put_aside(before.model.networks)
            if moved and self._kept > 1:
                self._aside.append(before)
        del before
        self._drop_surplus()
        self.placement.adopt(resident.model.networks)
        release_memory()

    def _drop_surplus(self) -> None:
        """Let go of those that were used longest ago, beyond what may be kept."""
        del self._aside[: max(0, len(self._aside) + 1 - self._kept)]


def _own_vae(blueprint: Blueprint) -> Part:
    """The autoencoder inside a checkpoint. Raises `ModelLoadError` where there is none."""
    part = blueprint.parts.get("vae")
    if part is None:
        raise ModelLoadError("it holds no autoencoder (VAE): choose a file as SD VAE, or put one beside it that is called like it")
    return part


def _key(info: CheckpointInfo | VaeInfo) -> FileKey:
    return (info.path, info.size, info.modified)


def _vae_key(spec: ModelSpec) -> FileKey | None:
    return None if spec.vae is None else _key(spec.vae)
