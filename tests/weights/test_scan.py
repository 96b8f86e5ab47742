"""The catalogue a user sees: which files are offered, under which names, with which hash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modules.domain.catalog import Catalog, CheckpointInfo, VaeInfo
from modules.domain.errors import ModelNotFound
from modules.settings.paths import Paths
from modules.weights.hashes import HashCache
from modules.weights.scan import ModelCatalog, automatic_vae


def make_paths(root: Path, *more: Path) -> Paths:
    models = root / "models"
    return Paths(
        data=root,
        models=models,
        checkpoints=(models / "Stable-diffusion", *more),
        vaes=(models / "VAE",),
        loras=(),
        embeddings=root / "embeddings",
        outputs=root / "outputs",
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    result = make_paths(tmp_path, tmp_path / "more")
    for folder in (*result.checkpoints, *result.vaes):
        folder.mkdir(parents=True)
    return result


def catalog_of(paths: Paths) -> ModelCatalog:
    return ModelCatalog(paths, HashCache(paths.hashes_db), (), ())


def write(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_folders_and_sidecars_get_their_places(paths: Paths) -> None:
    root = paths.checkpoints[0]
    write(root / "b.safetensors")
    write(root / "styles" / "A.CKPT")
    write(root / "b.vae.safetensors")
    write(root / "b.vae.pt")
    write(root / "b.png")
    write(root / ".hidden.safetensors")
    write(root / "flow" / "model_index.json", b"{}")
    write(root / "flow" / "unet" / "weights.safetensors")
    write(paths.vaes[0] / "deep" / "mse.safetensors")
    write(paths.vaes[0] / "old.pt")
    found = catalog_of(paths).snapshot()
    assert [(row.name, row.format) for row in found.checkpoints] == [
        ("b.safetensors", "safetensors"),
        ("flow", "diffusers"),
        ("styles/A.CKPT", "ckpt"),
    ]
    assert {row.name for row in found.vaes} == {"deep/mse.safetensors", "old.pt", "b.vae.safetensors", "b.vae.pt"}


def test_equal_names_of_two_folders_stay_apart(paths: Paths) -> None:
    for root in paths.checkpoints:
        write(root / "same.safetensors")
    found = catalog_of(paths).snapshot()
    assert [row.name for row in found.checkpoints] == ["same.safetensors", "more/same.safetensors"]
    assert found.checkpoint("more/same.safetensors").path == str(paths.checkpoints[1] / "same.safetensors")
    with pytest.raises(ModelNotFound, match="More than one"):
        found.checkpoint("same")


def test_a_symlink_loop_and_broken_links_end(paths: Paths) -> None:
    root = paths.checkpoints[0]
    write(root / "sub" / "model.safetensors")
    (root / "sub" / "loop").symlink_to(root, target_is_directory=True)
    (root / "gone.safetensors").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.safetensors")
    assert [row.name for row in catalog_of(paths).snapshot().checkpoints] == ["sub/model.safetensors"]


def test_a_missing_models_folder_is_an_empty_list(tmp_path: Path) -> None:
    found = catalog_of(make_paths(tmp_path)).snapshot()
    assert found.checkpoints == ()
    with pytest.raises(ModelNotFound, match="models/Stable-diffusion"):
        found.checkpoint(None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("model: {params: {image_size: 64, first_stage_config: {params: {ddconfig: {ch_mult: [1, 2, 4, 4]}}}}}", 512),
        ("model: {params: {image_size: 16, first_stage_config: {params: {ddconfig: {ch_mult: [1, 2, 3]}}}}}", 64),
        ("model: {params: {image_size: 64}}", None),
        ("a: &a [1]\nb: [*a, *a]", None),
        ("!!python/object/apply:os.system ['true']", None),
        ("[", None),
        ("x: " + "1" * 300_000, None),
    ],
)
def test_native_size_comes_from_the_config_beside_the_file(paths: Paths, text: str, size: int | None) -> None:
    write(paths.checkpoints[0] / "m.safetensors")
    write(paths.checkpoints[0] / "m.yaml", text.encode())
    assert catalog_of(paths).snapshot().checkpoints[0].native_size == size


@pytest.mark.parametrize(
    ("text", "guidance"),
    [
        ("suits: {cfg_scale: 5}", 5.0),
        ("suits: {cfg_scale: 3.5}\nmodel: {}", 3.5),
        ("suits: {cfg_scale: true}", None),
        ("suits: {cfg_scale: .inf}", None),
        ("suits: {cfg_scale: 'much'}", None),
        ("suits: 5", None),
        ("model: {}", None),
    ],
)
def test_suited_guidance_comes_from_the_config_beside_the_file(paths: Paths, text: str, guidance: float | None) -> None:
    write(paths.checkpoints[0] / "m.safetensors")
    write(paths.checkpoints[0] / "m.yaml", text.encode())
    assert catalog_of(paths).snapshot().checkpoints[0].suited_guidance == guidance


def test_hashes_arrive_in_the_background_and_are_remembered(paths: Paths) -> None:
    content = b"some weights" * 1000
    write(paths.checkpoints[0] / "m.safetensors", content)
    write(paths.vaes[0] / "v.safetensors", b"vae")
    catalog = catalog_of(paths)
    done = threading.Event()

    def look(now: Catalog) -> None:
        if now.checkpoints and now.checkpoints[0].sha256 and now.vaes[0].sha256:
            done.set()

    catalog.on_change(look)
    catalog.start()
    assert done.wait(10)
    catalog.close()
    digest = hashlib.sha256(content).hexdigest()
    again = catalog_of(paths).snapshot()
    assert again.checkpoints[0].sha256 == digest
    assert again.checkpoints[0].title == f"m.safetensors [{digest[:10]}]"
    assert again.checkpoint(digest[:10]).name == "m.safetensors"


def test_a_changed_file_loses_its_hash(paths: Paths) -> None:
    file = write(paths.checkpoints[0] / "m.safetensors")
    catalog = catalog_of(paths)
    HashCache(paths.hashes_db).sha256(file)
    assert catalog.refresh().checkpoints[0].sha256
    write(file, b"other weights")
    assert catalog.refresh().checkpoints[0].sha256 is None


def test_new_files_show_after_refresh_only_then_and_tell_listeners(paths: Paths) -> None:
    catalog = catalog_of(paths)
    assert catalog.snapshot().checkpoints == ()
    heard: list[int] = []
    stop = catalog.on_change(lambda now: heard.append(len(now.checkpoints)))
    write(paths.checkpoints[0] / "m.safetensors")
    assert catalog.snapshot().checkpoints == ()
    assert len(catalog.refresh().checkpoints) == 1
    catalog.refresh()
    stop()
    write(paths.checkpoints[0] / "n.safetensors")
    catalog.refresh()
    assert heard == [1]


def test_five_thousand_files_are_listed(paths: Paths) -> None:
    for number in range(5000):
        folder = paths.checkpoints[0] / f"{number % 50:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:04}.safetensors").touch()
    assert len(catalog_of(paths).snapshot().checkpoints) == 5000


def test_a_damaged_hash_database_is_made_anew(paths: Paths) -> None:
    file = write(paths.checkpoints[0] / "m.safetensors")
    write(paths.hashes_db, b"not a database " * 100)
    cache = HashCache(paths.hashes_db)
    assert cache.sha256(file) == hashlib.sha256(b"weights").hexdigest()
    cache.close()
    assert HashCache(paths.hashes_db).known(file) is not None


def test_hashing_stops_when_told_and_misses_no_file(paths: Paths) -> None:
    file = write(paths.checkpoints[0] / "m.safetensors")
    cache = HashCache(paths.hashes_db)
    assert cache.sha256(file, lambda: True) is None
    assert cache.known(file) is None
    with pytest.raises(OSError, match=r"gone\.safetensors"):
        cache.sha256(file.with_name("gone.safetensors"))


def test_automatic_vae_prefers_the_sidecar() -> None:
    model = CheckpointInfo(name="sub/Model.safetensors", path="", format="safetensors")
    vaes = [VaeInfo(name=name, path="") for name in ("other.safetensors", "model.safetensors", "sub/Model.vae.safetensors")]
    assert automatic_vae(model, vaes) == vaes[2]
    assert automatic_vae(model, vaes[:2]) == vaes[1]
    assert automatic_vae(model, vaes[:1]) is None


def test_the_catalogue_needs_no_torch() -> None:
    code = "import sys, modules.weights.scan, modules.weights.residency; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
