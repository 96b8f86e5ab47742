"""The upscaler models that are offered: under which labels, found by which names, from which folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modules.domain.catalog import LATENT_UPSCALERS, PIXEL_UPSCALERS, Catalog
from modules.domain.errors import InvalidRequest
from modules.settings.flags import parse, paths
from modules.weights.hashes import HashCache
from modules.weights.scan import ModelCatalog
from modules.weights.scan_upscalers import upscaler_rows
from tests.weights.test_scan import make_paths


def write(*files: Path) -> None:
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")


def labels(*roots: Path) -> list[str]:
    return [row.label for row in upscaler_rows(roots)]


def test_files_of_all_folders_are_called_by_their_stem(tmp_path: Path) -> None:
    write(tmp_path / "ESRGAN" / "4x_Sharp.pth", tmp_path / "ESRGAN" / "deep" / "anime.v2.safetensors", tmp_path / "SwinIR" / "big.PT")
    write(tmp_path / "ESRGAN" / "readme.txt", tmp_path / "DAT" / "old.ckpt")
    found = upscaler_rows([tmp_path / name for name in ("ESRGAN", "SwinIR", "DAT", "gone")])
    assert [row.label for row in found] == ["4x_Sharp", "anime.v2", "big", "old"]
    assert (found[0].path, found[0].size, found[0].name) == (str(tmp_path / "ESRGAN" / "4x_Sharp.pth"), 7, "4x_Sharp.pth")


def test_what_two_files_are_called_tells_neither_of_them(tmp_path: Path) -> None:
    esrgan, dat = tmp_path / "ESRGAN", tmp_path / "DAT"
    write(esrgan / "x.pth", dat / "X.pth", esrgan / "y.pth", esrgan / "y.safetensors", esrgan / "sub" / "y.pth", esrgan / "lanczos.pth")
    assert labels(esrgan, dat) == ["DAT/X", "ESRGAN/lanczos", "ESRGAN/sub/y", "ESRGAN/x", "ESRGAN/y.pth", "ESRGAN/y.safetensors"]
    other = tmp_path / "other" / "ESRGAN"
    write(other / "x.pth")
    twins = labels(esrgan, other)
    assert len({label.casefold() for label in twins}) == len(twins) == 6


def test_the_catalogue_offers_them_after_what_needs_no_file(tmp_path: Path) -> None:
    root = tmp_path / "models" / "ESRGAN"
    places = replace(make_paths(tmp_path), upscalers=(root,))
    source = ModelCatalog(places, HashCache(places.hashes_db), (), ())
    assert source.snapshot().hires_upscalers == (*LATENT_UPSCALERS, *PIXEL_UPSCALERS)
    write(root / "4x_Sharp.pth")
    found = source.refresh()
    assert found.hires_upscalers[-1] == found.hires_upscaler(" 4X_sharp ") == "4x_Sharp"
    with pytest.raises(InvalidRequest, match=r"no upscaler called '4x_Soft'.*Lanczos, Nearest, 4x_Sharp"):
        found.hires_upscaler("4x_Soft")


def test_a1111s_names_of_its_own_downloads_are_understood(tmp_path: Path) -> None:
    write(tmp_path / "RealESRGAN" / "RealESRGAN_x4plus_anime_6B.pth")
    found = Catalog(upscalers=upscaler_rows([tmp_path / "RealESRGAN"]))
    assert found.hires_upscaler("R-ESRGAN 4x+ Anime6B") == "RealESRGAN_x4plus_anime_6B"


def test_folders_follow_from_the_flags(tmp_path: Path) -> None:
    words = ["--models-dir", str(tmp_path / "m"), "--esrgan-models-path", str(tmp_path / "e"), "--dat-models-path", str(tmp_path / "d")]
    folders = paths(parse(words, {})).upscalers
    assert {tmp_path / "m" / "ESRGAN", tmp_path / "m" / "RealESRGAN", tmp_path / "m" / "SwinIR", tmp_path / "m" / "HAT"} < set(folders)
    assert folders[-2:] == (tmp_path / "e", tmp_path / "d")
