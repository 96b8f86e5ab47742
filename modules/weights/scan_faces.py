"""Which face restorers are there? Of each kind the newest version's file. Directory entries only; it must not import torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from modules.domain.catalog import CODEFORMER, GFPGAN, FaceRestorerInfo
from modules.weights.folders import FoundFile, walk_all
from modules.weights.scan_upscalers import UPSCALER_SUFFIXES

_HELPERS = ("detection_", "parsing_", "alignment_", "yolov5")
"""What A1111's face library keeps beside the restorers: networks that find faces and their parts."""


def face_restorer_rows(gfpgan: Sequence[Path], codeformer: Sequence[Path]) -> tuple[FaceRestorerInfo, ...]:
    """The face restorers in the folders of either kind, one of each at most."""
    rows = [_row(kind, roots) for kind, roots in ((GFPGAN, gfpgan), (CODEFORMER, codeformer))]
    return tuple(row for row in rows if row is not None)


def _row(kind: str, roots: Sequence[Path]) -> FaceRestorerInfo | None:
    """Files that are called as the kind is go before others (RestoreFormer's among GFPGAN's), a higher version before a lower one."""
    found = [item for item in walk_all(roots, UPSCALER_SUFFIXES, folders=False) if not _base(item).startswith(_HELPERS)]
    best = max(found, key=lambda item: (kind.casefold() in _base(item), _natural(_base(item))), default=None)
    return best and FaceRestorerInfo(kind=kind, path=best.path, size=best.size, modified=best.mtime_ns / 1e9)


def _base(found: FoundFile) -> str:
    return found.name.rsplit("/", 1)[-1].casefold()


def _natural(name: str) -> list[tuple[str, int]]:
    """A key by which v1.10 comes after v1.9."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d{0,9})", name)]
