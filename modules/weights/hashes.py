"""Which sha256 has this file? Remembered in SQLite, so that a model file is read once and not at every start.

Both processes open the same database: the web process hashes in the background, the engine reads what is known. It knows nothing of models.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

DATA = "#data"
"""Behind a path: the digest of what follows a safetensors file's header, A1111's hash of a LoRA. Retagging the file does not change it."""

_BLOCK = 4 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (
    path TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL
)
"""


class HashCache:
    """Sha256 digests by path, valid while size and modification time are what they were. Thread-safe.

    It is a cache: a database that is damaged is made anew, and one that can't be written costs only the remembering.
    """

    def __init__(self, database: Path) -> None:
        self._lock = threading.Lock()
        self._connection = _open(database)

    def known(self, path: str | Path) -> str | None:
        """The digest if it was computed for the file as it is now, else None. A missing file has none."""
        try:
            stat = Path(path).stat()
        except OSError:
            return None
        return self.lookup(str(path), stat.st_size, stat.st_mtime_ns)

    def lookup(self, path: str, size: int, mtime_ns: int) -> str | None:
        """As `known`, for a caller that has looked at the file already."""
        with self._lock:
            row = self._connection.execute(
                "SELECT sha256 FROM hashes WHERE path=? AND size=? AND mtime_ns=?", (path, size, mtime_ns)
            ).fetchone()
        return row[0] if row else None

    def entries(self) -> dict[tuple[str, int, int], str]:
        """Everything that is known, by (path, size, mtime_ns): one query for a whole folder."""
        with self._lock:
            return {(path, size, mtime): digest for path, size, mtime, digest in self._connection.execute("SELECT * FROM hashes")}

    def sha256(
        self, path: str | Path, stopped: Callable[[], bool] = lambda: False, *, skip: Callable[[Path], int] | None = None
    ) -> str | None:
        """The file's digest, computed if need be. None when `stopped` said so, or when the file changed while it was read.

        `skip` says how many bytes at the file's start are left out; such a digest is kept apart, under `path` with `DATA` behind it.
        Raises OSError when the file can't be read, and whatever `skip` raises.
        """
        before = Path(path).stat()
        key = str(path) if skip is None else f"{path}{DATA}"
        found = self.lookup(key, before.st_size, before.st_mtime_ns)
        if found:
            return found
        start = 0 if skip is None else skip(Path(path))
        digest = hashlib.sha256()
        with Path(path).open("rb", buffering=0) as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                if stopped():
                    return None
                digest.update(block)
        after = Path(path).stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return None
        self._remember(key, after.st_size, after.st_mtime_ns, digest.hexdigest())
        return digest.hexdigest()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _remember(self, path: str, size: int, mtime_ns: int, digest: str) -> None:
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", (path, size, mtime_ns, digest))
            except sqlite3.Error:
                return  # a full or read-only disk: the digest is right all the same


def _open(database: Path) -> sqlite3.Connection:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        return _connect(str(database))
    except sqlite3.DatabaseError:
        for leftover in (database, Path(f"{database}-wal"), Path(f"{database}-shm")):
            leftover.unlink(missing_ok=True)
    except OSError:
        return _connect(":memory:")
    try:
        return _connect(str(database))
    except (sqlite3.Error, OSError):
        return _connect(":memory:")


def _connect(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, timeout=30.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_SCHEMA)
        connection.execute("SELECT COUNT(*) FROM hashes").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
