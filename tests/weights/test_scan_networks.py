"""Which LoRAs and textual inversions are offered, what their headers say of them, and which hash they get."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from modules.domain.catalog import Catalog
from modules.settings.paths import Paths
from modules.weights.hashes import HashCache
from modules.weights.png_text import png_text
from modules.weights.scan import ModelCatalog
from tests.weights.test_scan import make_paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = replace(make_paths(tmp_path), loras=(tmp_path / "Lora", tmp_path / "more"), embeddings=tmp_path / "embeddings")
    for folder in (*found.loras, found.embeddings):
        folder.mkdir()
    return found


def write_tensors(path: Path, metadata: dict[str, str] | None = None, rows: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": torch.zeros(rows, 4)}, path, metadata)
    return path


def write_picture(path: Path, text: str | None) -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat")
    if text is not None:
        info.add_text("sd-ti-embedding", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def after_background(paths: Paths) -> Catalog:
    """The catalogue once everything in it has a hash."""
    catalog = ModelCatalog(paths, HashCache(paths.hashes_db), (), ())
    done = threading.Event()

    def look(now: Catalog) -> None:
        if all(row.digest for row in now.loras) and all(row.sha256 for row in now.embeddings):
            done.set()

    catalog.on_change(look)
    catalog.start()
    assert done.wait(20)
    catalog.close()
    return catalog.snapshot()


def test_files_of_both_kinds_get_their_rows(paths: Paths) -> None:
    write_tensors(paths.loras[0] / "styles" / "ink.safetensors")
    write_tensors(paths.loras[1] / "ink.safetensors")
    (paths.loras[0] / "old.pt").write_bytes(b"x")
    (paths.loras[0] / "ink.png").write_bytes(b"x")
    (paths.loras[0] / "notes.txt").write_bytes(b"x")
    write_tensors(paths.embeddings / "sub" / "bad-hands.safetensors", rows=8)
    (paths.embeddings / "easy.pt").write_bytes(b"x")
    write_picture(paths.embeddings / "easy.png", None)
    write_picture(paths.embeddings / "shared.png", base64.b64encode(json.dumps({"name": "inner name"}).encode()).decode())
    write_picture(paths.embeddings / "broken.png", "%%%")
    found = ModelCatalog(paths, HashCache(paths.hashes_db), (), ()).snapshot()
    assert [row.name for row in found.loras] == ["old.pt", "styles/ink.safetensors", "ink.safetensors"]
    assert {row.name: row.word for row in found.embeddings} == {
        "broken.png": "broken",
        "easy.pt": "easy",
        "shared.png": "inner name",
        "sub/bad-hands.safetensors": "bad-hands",
    }
    assert found.lora("styles/ink").path == str(paths.loras[0] / "styles" / "ink.safetensors")


def test_headers_and_hashes_come_in_the_background(paths: Paths) -> None:
    told = {"ss_output_name": "Ink Wash", "ss_base_model_version": "sd_v1", "sshs_model_hash": "ab" * 32}
    write_tensors(paths.loras[0] / "told.safetensors", told)
    silent = write_tensors(paths.loras[0] / "silent.safetensors", {"sshs_model_hash": "a, b: c"})
    old = paths.loras[0] / "old.pt"
    old.write_bytes(b"an old file")
    write_tensors(paths.embeddings / "style.safetensors", rows=3)
    found = after_background(paths)
    rows = {row.stem: row for row in found.loras}
    assert rows["told"].short_hash == "ab" * 6 and rows["told"].alias == "Ink Wash" and rows["told"].made_for == "sd_v1"
    assert found.lora("ink wash") == rows["told"]
    data = silent.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    assert rows["silent"].short_hash == hashlib.sha256(data[start:]).hexdigest()[:12]
    assert rows["old"].short_hash == hashlib.sha256(b"an old file").hexdigest()[:12]
    style = paths.embeddings / "style.safetensors"
    assert found.embeddings[0].vectors == 3
    assert found.embeddings[0].short_hash == hashlib.sha256(style.read_bytes()).hexdigest()[:12]


def test_the_hash_survives_new_tags_and_is_remembered(paths: Paths) -> None:
    file = write_tensors(paths.loras[0] / "m.safetensors", {"note": "one"})
    first = after_background(paths).loras[0].digest
    again = ModelCatalog(paths, HashCache(paths.hashes_db), (), ()).snapshot()
    assert again.loras[0].digest == first
    write_tensors(file, {"note": "another, longer one"})
    assert ModelCatalog(paths, HashCache(paths.hashes_db), (), ()).snapshot().loras[0].digest is None
    assert after_background(paths).loras[0].digest == first


def test_damaged_files_keep_their_rows(paths: Paths) -> None:
    (paths.loras[0] / "a.safetensors").write_bytes(b"<html>")
    write_tensors(paths.loras[0] / "b.safetensors", {"sshs_model_hash": "cd" * 32})
    catalog = ModelCatalog(paths, HashCache(paths.hashes_db), (), ())
    done = threading.Event()
    catalog.on_change(lambda now: done.set() if any(row.digest for row in now.loras) else None)
    catalog.start()
    assert done.wait(20)
    catalog.close()
    assert {row.stem: row.digest for row in catalog.snapshot().loras} == {"a": None, "b": "cd" * 32}


@pytest.mark.parametrize("cut", [0, 4, 20, 60])
def test_a_pngs_text_is_found_without_decoding_it(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "p.png"
    write_picture(path, "hello")
    assert png_text(path, "sd-ti-embedding") == "hello"
    path.write_bytes(path.read_bytes()[:cut])
    assert png_text(path, "sd-ti-embedding") is None
