"""Which short hash goes into the infotext? The catalogue's if it knew one, else the file's, computed beside the drawing."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from modules.domain.catalog import CheckpointInfo, VaeInfo
from modules.domain.errors import ModelLoadError
from modules.domain.networks import SHORT_HASH, EmbeddingInfo, LoraInfo
from modules.domain.plans import ModelSpec
from modules.weights.hashes import HashCache
from modules.weights.scan_networks import lora_digest

log = logging.getLogger(__name__)

File = CheckpointInfo | VaeInfo | LoraInfo | EmbeddingInfo


class FileHashes:
    """Hashes files in a thread of its own; each once. Thread-safe."""

    def __init__(self, cache: HashCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hasher")
        self._coming: dict[tuple[str, int, float], Future[str | None]] = {}

    def prepare(self, spec: ModelSpec) -> None:
        """Begin to hash what `short` will be asked for."""
        for info in (spec.checkpoint, spec.vae, *(ref.info for ref in spec.networks), *spec.embeddings):
            if info is not None:
                self._start(info)

    def short(self, info: File | None) -> str | None:
        """The hash's first digits, ten of a model and twelve of a network, waiting for them if need be.

        None for a folder or a file that can't be read.
        """
        if info is None or info.short_hash:
            return info.short_hash if info else None
        future = self._start(info)
        digest = future.result() if future else None
        length = SHORT_HASH if isinstance(info, (LoraInfo, EmbeddingInfo)) else 10
        return digest[:length] if digest else None

    def _start(self, info: File) -> Future[str | None] | None:
        if info.short_hash or (isinstance(info, CheckpointInfo) and info.format == "diffusers"):
            return None
        key = (info.path, info.size, info.modified)
        with self._lock:
            if key not in self._coming:
                self._coming[key] = self._thread.submit(self._digest, info)
            return self._coming[key]

    def _digest(self, info: File) -> str | None:
        try:
            return lora_digest(info, self._cache) if isinstance(info, LoraInfo) else self._cache.sha256(info.path)
        except (OSError, ModelLoadError) as error:
            log.warning("%s can't be hashed: %s", info.path, error)
            return None
