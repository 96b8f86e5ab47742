"""What the merger's tests share: a merge made and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from modules.domain.catalog import CheckpointInfo, VaeInfo
from modules.domain.merging import MergeRequest
from modules.domain.networks import LoraInfo
from modules.merging.merge import MergePlan, open_merge
from modules.merging.writer import header, writing
from modules.weights.sources import open_source


def made(
    *sources: CheckpointInfo, vae: VaeInfo | None = None, loras: tuple[tuple[LoraInfo, float], ...] = (), **asked: Any
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The result's tensors, read from its file, and the notes."""
    names = dict(zip(("primary", "secondary", "tertiary"), (info.name for info in sources), strict=False))
    infos = dict(zip("abc", sources, strict=False))
    plan = MergePlan(request=MergeRequest(**{**names, **asked}), vae=vae, loras=loras, **infos)
    target = Path(sources[0].path).with_name("result.safetensors")
    target.unlink(missing_ok=True)
    with open_merge(plan) as merge:
        head = header(merge.entries, {"format": "pt"})
        with writing(target, target.with_name(".temporary"), head, merge.entries) as put:
            for entry in merge.entries:
                put(merge.tensor(entry.name))
        notes = merge.notes
    return tensors(target), notes


def tensors(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a file, copied."""
    with open_source(Path(path), "safetensors") as source:
        return {name: source.tensor(name).clone() for name in source.shapes}
