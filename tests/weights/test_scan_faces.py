"""Which face restorers there are: one of each kind, the newest version, and none of the helpers that A1111 keeps beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.domain.catalog import CODEFORMER, GFPGAN, Catalog
from modules.domain.errors import ModelNotFound
from modules.settings.flags import parse, paths
from modules.weights.scan_faces import face_restorer_rows


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights")


def found(folder: Path) -> dict[str, str]:
    return {row.kind: row.name for row in face_restorer_rows([folder / "GFPGAN"], [folder / "Codeformer"])}


def test_the_newest_of_each_kind(tmp_path: Path) -> None:
    assert found(tmp_path) == {}
    helpers = ("detection_Resnet50_Final.pth", "parsing_parsenet.pth", "parsing_bisenet.pth", "alignment_WFLW_4HG.pth")
    write(*(tmp_path / "GFPGAN" / name for name in helpers), *(tmp_path / "Codeformer" / name for name in helpers))
    assert found(tmp_path) == {}
    write(tmp_path / "GFPGAN" / "RestoreFormer.pth")
    assert found(tmp_path) == {GFPGAN: "RestoreFormer.pth"}
    write(*(tmp_path / "GFPGAN" / f"GFPGANv1.{minor}.pth" for minor in (3, 10, 4)), tmp_path / "Codeformer" / "codeformer-v0.1.0.pth")
    assert found(tmp_path) == {GFPGAN: "GFPGANv1.10.pth", CODEFORMER: "codeformer-v0.1.0.pth"}


def test_their_folders_and_flags(tmp_path: Path) -> None:
    named = {"--models-dir": "m", "--gfpgan-models-path": "g", "--codeformer-models-path": "c"}
    words = [word for flag, folder in named.items() for word in (flag, str(tmp_path / folder))]
    where = paths(parse(words, {}))
    assert where.gfpgan == (tmp_path / "m" / "GFPGAN", tmp_path / "g")
    assert where.codeformer == (tmp_path / "m" / "Codeformer", tmp_path / "c")


def test_one_that_is_not_there_is_asked_for_in_vain_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"GFPGANv1\.4\.pth.*models/GFPGAN"):
        Catalog().face_restorer(GFPGAN)
    with pytest.raises(ModelNotFound, match="models/Codeformer"):
        Catalog().face_restorer(CODEFORMER)
