"""Which model files are there? The live catalogue over the models folders, their names, titles and (in the background) hashes.

It reads directory entries and the small config beside a file, never weights other than to hash them; it must not import torch.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from modules.domain.catalog import Catalog, CheckpointInfo, SamplerInfo, ScheduleInfo, VaeInfo
from modules.domain.errors import ModelLoadError
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.settings.paths import Paths
from modules.settings.safe_yaml import DamagedFileError
from modules.weights import config_file
from modules.weights.folders import FoundFile, is_vae_sidecar, unique, walk_all
from modules.weights.hashes import HashCache
from modules.weights.scan_faces import face_restorer_rows
from modules.weights.scan_networks import NetworkFolders, lora_digest
from modules.weights.scan_upscalers import upscaler_rows

CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")
VAE_SUFFIXES = (".safetensors", ".ckpt", ".pt")
BACKGROUND_NICENESS = 10


class _Config(NamedTuple):
    """What the page wants to know of a checkpoint's config; each None or empty where it does not say."""

    native_size: int | None = None
    suited_guidance: float | None = None
    taught_words: tuple[str, ...] = ()


_Hashed = CheckpointInfo | VaeInfo | LoraInfo | EmbeddingInfo


class ModelCatalog:
    """The `CatalogSource` of the models folders. Thread-safe; snapshots are frozen and stay valid whatever happens on disk.

    `start` scans and begins to hash in the background. Callbacks given to `on_change` run in the thread that noticed the change.
    """

    def __init__(self, paths: Paths, hashes: HashCache, samplers: Iterable[SamplerInfo], schedules: Iterable[ScheduleInfo]) -> None:
        self._paths = paths
        self._hashes = hashes
        self._blank = Catalog(samplers=tuple(samplers), schedules=tuple(schedules))
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._snapshot: Catalog | None = None
        self._networks = NetworkFolders(paths.loras, (paths.embeddings, *paths.more_embeddings))
        self._configs: dict[tuple[str, int], _Config] = {}
        self._listeners: list[Callable[[Catalog], None]] = []
        self._work = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def snapshot(self) -> Catalog:
        with self._lock:
            current = self._snapshot
        return current if current is not None else self.refresh()

    def refresh(self) -> Catalog:
        """Scan the folders. What can't be read is left out; what is new is hashed in the background."""
        with self._refreshing:
            known = self._hashes.entries()
            checkpoints = unique(walk_all(self._paths.checkpoints, CHECKPOINT_SUFFIXES))
            beside = [found for found in checkpoints if is_vae_sidecar(found.name)]
            vaes = unique([*walk_all(self._paths.vaes, VAE_SUFFIXES, folders=False), *beside])
            catalog = replace(
                self._blank,
                checkpoints=tuple(self._checkpoint(found, known) for found in checkpoints if not is_vae_sidecar(found.name)),
                vaes=tuple(_vae(found, known) for found in vaes if not found.is_folder),
                loras=self._networks.loras(known),
                embeddings=self._networks.embeddings(known),
                upscalers=upscaler_rows(self._paths.upscalers),
                face_restorers=face_restorer_rows(self._paths.gfpgan, self._paths.codeformer),
            )
            changed = self._publish(catalog)
        self._work.set()
        if changed:
            self._tell(catalog)
        return catalog

    def on_change(self, callback: Callable[[Catalog], None]) -> Callable[[], None]:
        """Call `callback` with each new snapshot that differs from the one before. Returns the function that ends this."""
        with self._lock:
            self._listeners.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return unsubscribe

    def start(self) -> None:
        """Scan and hash in a background thread of low priority; returns at once."""
        self._thread = threading.Thread(target=self._hash_in_background, name="hasher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the background thread; a file that it is in the middle of is read again at the next start."""
        self._stopped.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _publish(self, catalog: Catalog) -> bool:
        with self._lock:
            changed = catalog != self._snapshot
            self._snapshot = catalog
        return changed

    def _tell(self, catalog: Catalog) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(catalog)

    def _checkpoint(self, found: FoundFile, known: dict[tuple[str, int, int], str]) -> CheckpointInfo:
        suffix = Path(found.name).suffix.lower().lstrip(".")
        config = self._config(found)
        return CheckpointInfo(
            name=found.name,
            path=found.path,
            format="diffusers" if found.is_folder else suffix,
            size=found.size,
            modified=found.mtime_ns / 1e9,
            sha256=known.get((found.path, found.size, found.mtime_ns)),
            native_size=config.native_size,
            suited_guidance=config.suited_guidance,
            taught_words=config.taught_words,
        )

    def _config(self, found: FoundFile) -> _Config:
        path = Path(found.path)
        source = path / "unet" / "config.json" if found.is_folder else path.with_suffix(".yaml")
        try:
            key = (str(source), source.stat().st_mtime_ns)
        except OSError:
            return _Config()
        if key not in self._configs:
            self._configs[key] = _read_config(source, found.is_folder)
        return self._configs[key]

    def _hash_in_background(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
        self.refresh()
        unreadable: set[tuple[str, int, float]] = set()
        while not self._stopped.is_set():
            if self._networks.read_facts(self._stopped.is_set):
                self.refresh()
            row = next((row for row in self._without_hash() if _identity(row) not in unreadable), None)
            if row is None:
                self._work.wait()
                self._work.clear()
                continue
            digest = self._digest(row)
            if digest is None:
                unreadable.add(_identity(row))
            else:
                self._set_hash(row, digest)

    def _digest(self, row: _Hashed) -> str | None:
        """The row's digest, None where its file can't be read or the program ends."""
        try:
            if isinstance(row, LoraInfo):
                return lora_digest(row, self._hashes, self._stopped.is_set)
            return self._hashes.sha256(row.path, self._stopped.is_set)
        except (OSError, ModelLoadError):
            return None

    def _without_hash(self) -> Iterator[_Hashed]:
        catalog = self.snapshot()
        yield from (row for row in catalog.embeddings if row.sha256 is None)
        yield from (row for row in catalog.checkpoints if row.sha256 is None and row.format != "diffusers")
        yield from (row for row in catalog.vaes if row.sha256 is None)
        yield from (row for row in catalog.loras if row.digest is None)

    def _set_hash(self, row: _Hashed, digest: str) -> None:
        with self._refreshing:
            catalog = self.snapshot()
            catalog = replace(
                catalog,
                checkpoints=_with_hash(catalog.checkpoints, row, digest),
                vaes=_with_hash(catalog.vaes, row, digest),
                embeddings=_with_hash(catalog.embeddings, row, digest),
                loras=tuple(replace(lora, digest=digest) if _identity(lora) == _identity(row) else lora for lora in catalog.loras),
            )
            changed = self._publish(catalog)
        if changed:
            self._tell(catalog)


def automatic_vae(checkpoint: CheckpointInfo, vaes: Sequence[VaeInfo]) -> VaeInfo | None:
    """The VAE that "Automatic" means: the checkpoint's sidecar (`x.vae.*`), else the VAE file of the same stem, else None (its own)."""
    wanted = checkpoint.stem.casefold()
    for end in (".vae", ""):
        for vae in vaes:
            stem = vae.name.rsplit("/", 1)[-1].rsplit(".", 1)[0].casefold()
            if stem == wanted + end:
                return vae
    return None


def _vae(found: FoundFile, known: dict[tuple[str, int, int], str]) -> VaeInfo:
    digest = known.get((found.path, found.size, found.mtime_ns))
    return VaeInfo(name=found.name, path=found.path, size=found.size, modified=found.mtime_ns / 1e9, sha256=digest)


def _read_config(source: Path, is_folder: bool) -> _Config:
    try:
        config = config_file.read_config(source)
        if not is_folder:
            return _Config(config_file.native_size(config), config_file.suited_guidance(config), config_file.taught_words(config))
        levels = config_file.read_config(source.parent.parent / "vae" / "config.json").get("block_out_channels")
    except (OSError, DamagedFileError):
        return _Config()  # loading it says what is wrong with the file
    return _Config(config_file.pixels(config.get("sample_size"), levels))


def _identity(row: _Hashed) -> tuple[str, int, float]:
    return (row.path, row.size, row.modified)


_RowT = TypeVar("_RowT", CheckpointInfo, VaeInfo, EmbeddingInfo)


def _with_hash(rows: tuple[_RowT, ...], wanted: Any, digest: str) -> tuple[_RowT, ...]:
    return tuple(replace(row, sha256=digest) if _identity(row) == _identity(wanted) else row for row in rows)
