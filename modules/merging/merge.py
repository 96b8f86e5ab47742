"""How do checkpoints become a new one? Opened, compared before anything is written, then merged tensor by tensor.

Files are mapped into memory a piece at a time and nothing is kept, so models larger than the memory can be merged. What only A has is kept;
what only B or C has is left out, as A1111 does: the result is a model of A's structure.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from modules.domain.block_weights import block_multipliers
from modules.domain.catalog import CheckpointInfo, VaeInfo
from modules.domain.errors import InvalidRequest, ModelLoadError
from modules.domain.merging import MergeRequest
from modules.domain.networks import LoraInfo
from modules.families import registry
from modules.families.base import METADATA, Config, ModelFamily, Shapes
from modules.families.ldm_layout import UNET, VAE
from modules.merging.formula import FIRST_CONVOLUTION, block_of, count_blocks, is_learned, merged, plain_name
from modules.merging.networks import NO_PATCHES, Patches, is_finite, patches_for
from modules.merging.writer import Entry, in_file_order
from modules.weights.load import naming
from modules.weights.sources import WeightSource, open_source

INPAINTING, INSTRUCTED = 9, 8
"""Input channels of UNets that read a mask and a picture, or a picture alone, beside the latent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A request with its names looked up. B and C are None where the method has no use for them."""

    request: MergeRequest
    a: CheckpointInfo
    b: CheckpointInfo | None = None
    c: CheckpointInfo | None = None
    vae: VaeInfo | None = None
    loras: tuple[tuple[LoraInfo, float], ...] = ()

    @property
    def sources(self) -> tuple[CheckpointInfo, ...]:
        """The checkpoints that are read, in order."""
        return tuple(info for info in (self.a, self.b, self.c) if info is not None)


class _Named:
    """A checkpoint whose errors name it."""

    def __init__(self, name: str, source: WeightSource) -> None:
        self.name, self._source = name, source
        self.shapes: Shapes = source.shapes
        self.config: Config = source.config
        self._names = {plain_name(name): name for name in self.shapes}

    def tensor(self, name: str) -> Tensor:
        with naming(self.name):
            return self._source.tensor(name)

    def own(self, name: str) -> str | None:
        """This checkpoint's name of what another one calls `name`; None where it has no such tensor."""
        return name if name in self.shapes else self._names.get(plain_name(name))

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's notes about itself."""
        return cast("Mapping[str, str]", self.config.get(METADATA) or {})


class Merge:
    """An open merge: what the result will hold, and each of its tensors on demand."""

    def __init__(self, plan: MergePlan, sources: tuple[_Named, ...], vae: _Named | None) -> None:
        self._request = plan.request
        self._a = sources[0]
        self._b = sources[1] if len(sources) > 1 else None
        self._c = sources[2] if len(sources) > 2 else None
        self._vae = vae
        family = _common_family(sources)
        self._vae_names = _vae_names(family, self._a.shapes, vae) if vae else {}
        inputs, self._outputs = count_blocks(self._a.shapes)
        self._multipliers = block_multipliers(plan.request.block_weights, plan.request.multiplier, inputs, self._outputs)
        self._check_shapes()
        self._patches = self._read_loras(plan, family)
        names = {name for name in self._a.shapes if not (vae and name.startswith(VAE))} | set(self._vae_names)
        discarded = {name for name in names if plan.request.discard and re.search(plan.request.discard, name)}
        if discarded == names:
            raise InvalidRequest("Discard weights with matching name: the pattern leaves nothing of the model.")
        self.entries = in_file_order([self._entry(name) for name in names - discarded])
        self._dtypes = {entry.name: entry.dtype for entry in self.entries}
        nothing = plan.request.discard and not discarded
        idle = [f"No weight's name matches {plan.request.discard!r}, so none was left out."] if nothing else []
        self.notes = (*idle, *self._lacking(names - discarded - set(self._vae_names)), *self._patches.notes)
        self.metadata = tuple(source.metadata for source in sources)
        """The sources' notes about themselves, A's first."""
        self.is_inpainting = self._mixes(INPAINTING)
        """Whether an inpainting model was merged with one that is none."""
        self.is_instructed = self._mixes(INSTRUCTED)

    def tensor(self, name: str) -> Tensor:
        """The result's tensor. Raises `ModelLoadError` for numbers that are not finite."""
        original = self._original(name)
        if not (is_learned(name) and original.is_floating_point()):
            return original
        result = original if name in self._vae_names else self._patches.applied(name, self._interpolated(name, original))
        written = result.to(self._dtypes[name])
        if not is_finite(written):
            hint = " Save it without float16." if self._request.half and is_finite(result) else ""
            raise ModelLoadError(f"The result would hold numbers that are not finite, in {name!r}.{hint}")
        return written

    def _original(self, name: str) -> Tensor:
        return self._vae.tensor(self._vae_names[name]) if self._vae and name in self._vae_names else self._a.tensor(name)

    def _interpolated(self, name: str, original: Tensor) -> Tensor:
        """In float32 where anything may change."""
        a = original.float()
        theirs = [source.tensor(own) for source, own in self._counterparts(name)]
        if not theirs or not all(tensor.is_floating_point() for tensor in theirs):
            return a
        b, c = theirs[0], theirs[1] if len(theirs) > 1 else None
        channels = b.shape[1] if name == FIRST_CONVOLUTION else None
        sides = (slice(None), slice(channels)) if channels else ()
        multiplier = self._multipliers[block_of(name, self._outputs)]
        part = merged(self._request.method, multiplier, a[sides], b.float(), None if c is None else c.float())
        if channels is None or channels == a.shape[1]:
            return part
        whole = a.clone()
        whole[sides] = part
        return whole

    @property
    def _others(self) -> tuple[_Named, ...]:
        return tuple(source for source in (self._b, self._c) if source is not None)

    def _counterparts(self, name: str) -> list[tuple[_Named, str]]:
        """B and C with their names of A's tensor `name`; empty where one has none, or the tensor is not merged."""
        found = [(source, own) for source in self._others if (own := source.own(name)) is not None]
        return found if is_learned(name) and len(found) == len(self._others) else []

    def _lacking(self, names: Set[str]) -> list[str]:
        """Sentences about those of A's weights that B or C lacks: they are not merged."""
        learned = sorted(name for name in names if is_learned(name))
        lacking = [(source.name, [name for name in learned if source.own(name) is None]) for source in self._others]
        return [
            f"{len(lost)} of {self._a.name}'s {len(learned)} weights are not in {other} and stay as they are, such as {lost[0]!r}."
            for other, lost in lacking
            if lost
        ]

    def _entry(self, name: str) -> Entry:
        tensor = self._original(name)
        halved = self._request.half and tensor.is_floating_point() and is_learned(name)
        return Entry(name, torch.float16 if halved else tensor.dtype, tuple(tensor.shape))

    def _check_shapes(self) -> None:
        for name, shape in self._a.shapes.items():
            for other, own in () if name in self._vae_names else self._counterparts(name):
                theirs = other.shapes[own]
                if theirs != shape and not (name == FIRST_CONVOLUTION and self._fits(shape, theirs, other.name)):
                    raise InvalidRequest(
                        f"{self._a.name} and {other.name} can't be merged: {name!r} has the shape {list(shape)} in one and {list(theirs)} "
                        "in the other. Choose models of one kind and size."
                    )

    def _fits(self, ours: tuple[int, ...], theirs: tuple[int, ...], other: str) -> bool:
        """Whether the first convolutions can be merged: A may have more channels, which stay A's; B and C must be alike."""
        if (ours[0], *ours[2:]) != (theirs[0], *theirs[2:]):
            return False
        if theirs[1] > ours[1]:
            raise InvalidRequest(f"{other} reads more than {self._a.name} does, as an inpainting model: it must be A. Swap them.")
        alike = self._c is None or self._b is None or self._b.shapes[FIRST_CONVOLUTION] == self._c.shapes[FIRST_CONVOLUTION]
        return alike and ours[1] in (INPAINTING, INSTRUCTED)

    def _mixes(self, channels: int) -> bool:
        ours = self._a.shapes[FIRST_CONVOLUTION][1]
        return self._b is not None and ours == channels and self._b.shapes.get(FIRST_CONVOLUTION, (0, ours))[1] != ours

    def _read_loras(self, plan: MergePlan, family: ModelFamily) -> Patches:
        if not plan.loras:
            return NO_PATCHES
        with naming(self._a.name):
            blueprint = family.blueprint(self._a.shapes, self._a.config)
        return patches_for(plan.loras, blueprint)


@contextmanager
def open_merge(plan: MergePlan) -> Generator[Merge]:
    """The merge of a plan, checked: nothing is written yet. Raises `InvalidRequest` and `ModelLoadError` with sentences."""
    with ExitStack() as stack:
        sources = tuple(_opened(info.name, info.path, info.format, stack) for info in plan.sources)
        vae = None
        if plan.vae is not None:
            kind = "safetensors" if plan.vae.path.lower().endswith(".safetensors") else "ckpt"
            vae = _opened(plan.vae.name, plan.vae.path, kind, stack)
        yield Merge(plan, sources, vae)


def _opened(name: str, path: str, file_format: str, stack: ExitStack) -> _Named:
    if file_format == "diffusers":
        raise InvalidRequest(f"{name} is a folder in diffusers' layout, and only single files can be merged: choose another model.")
    with naming(name):
        return _Named(name, stack.enter_context(open_source(Path(path), file_format)))


def _common_family(sources: tuple[_Named, ...]) -> ModelFamily:
    """The family of all. Raises `InvalidRequest` where they are of several, `ModelLoadError` for what is no checkpoint."""
    families: list[ModelFamily] = []
    for source in sources:
        with naming(source.name):
            families.append(registry.detect(source.shapes))
    for source, family in zip(sources, families, strict=True):
        if family is not families[0]:
            raise InvalidRequest(
                f"{sources[0].name} is a {families[0].title} model and {source.name} a {family.title} model: "
                "only models of one kind can be merged."
            )
    return families[0]


def _vae_names(family: ModelFamily, shapes: Shapes, vae: _Named) -> dict[str, str]:
    """The result's names of the VAE's tensors -> their names in its file. Raises `ModelLoadError` where it is none for this model."""
    with naming(vae.name):
        part = family.vae_part(vae.shapes, shapes[f"{UNET}out.2.weight"][0])
    return {name if name.startswith(VAE) else VAE + name: name for name in part.file_names}
