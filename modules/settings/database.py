"""How an SQLite file of ours is opened: durable at every commit, and never a reason not to start.

The sibling of `atomic` for state that is too large to be written as a whole. Knows no table.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from modules.domain.errors import StorageError
from modules.settings.atomic import set_aside

_CHECKED_WHOLE = 32 * 1024 * 1024
"""Files up to this size are read through at the start; larger ones would keep the user waiting and are checked by their tables alone."""

_NOT_DAMAGE = ("locked", "busy", "full", "unable to open", "disk i/o")


class Database:
    """One connection, shared by all threads under one lock, with every statement's failure turned into `StorageError`.

    `schema` is SQL that may run again and again; `probe` is a query that names every column, so that a foreign file is noticed at once.
    `problem` is a sentence for the user when a damaged file was set aside, else empty. Raises `StorageError` when the place can't be used.
    """

    def __init__(self, path: Path, *, schema: str, probe: str, version: int = 1) -> None:
        self._path = path
        self._suspicion = path.with_name(f"{path.name}-damaged")
        self._lock = threading.RLock()
        self._schema, self._probe, self._version = schema, probe, version
        self.problem = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open_or_replace()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"{path.name} in {path.parent.name} can't be used: {error}. Free the disk or allow writing there, then restart."
            ) from error

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """The connection for queries. Raises `StorageError`."""
        with self._lock, self._translated():
            yield self._connection

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Generator[sqlite3.Connection, None, None]:
        """The connection in a transaction: committed to the disk at the end, undone when anything raises. Raises `StorageError`.

        What is not `durable` survives a killed process at once, a power cut only together with the next durable transaction.
        """
        with self._lock, self._translated():
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; using it afterwards raises `StorageError`."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Generator[None, None, None]:
        try:
            with _readable_errors():
                yield
        except sqlite3.Error as error:
            what_to_do = "Is the disk full?"
            if _is_malformed(error):
                what_to_do = "Restart the program: it looks through the file, and begins a new one where it can't be used."
                with contextlib.suppress(OSError):
                    self._suspicion.touch()
            raise StorageError(f"{self._path.name} can't be read or written: {error}. {what_to_do}") from error

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.Error as error:
            if not _is_damage(error, self._path):
                raise
            kept = self._set_aside()
            self.problem = f"{self._path.name} was damaged ({error}) and is kept as {kept.name}; a new one was begun."
            return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10.0, isolation_level=None, check_same_thread=False)
        # A flipped bit inside a text must not make every query that meets the row fail.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            with _readable_errors():
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                self._check(connection)
                connection.executescript(self._schema)
                connection.execute(self._probe).fetchall()
                connection.execute(f"PRAGMA user_version={self._version:d}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, self._version):
            raise sqlite3.DatabaseError(f"its format {found} belongs to another version of this program")
        is_suspect = self._suspicion.exists()
        if is_suspect or self._path.stat().st_size <= _CHECKED_WHOLE:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(str(verdict))
        if is_suspect:
            self._suspicion.unlink(missing_ok=True)

    def _set_aside(self) -> Path:
        """Move the file away, its write-ahead log under the matching name so that a repair tool still finds the last commits in it."""
        kept = set_aside(self._path)
        self._suspicion.unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            side = Path(f"{self._path}{suffix}")
            if os.path.lexists(side):
                side.rename(f"{kept}{suffix}")
        return kept


def one_of(column: str, values: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """SQL that holds where `column` is one of `values` (None: everywhere), and what its marks stand for.

    The index of the column serves a single value only: the rows of several would have to be sorted before the first one is known.
    """
    if values is None:
        return "TRUE", ()
    return f"{'+' if len(values) > 1 else ''}{column} IN ({', '.join('?' * len(values))})", tuple(values)


@contextlib.contextmanager
def _readable_errors() -> Generator[None, None, None]:
    """SQLite quotes a damaged table definition in its message, bytes that are no UTF-8 included, and Python's module fails on the message:
    that failure becomes the error it stands for."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("its table definitions can't be read") from error


def _is_malformed(error: sqlite3.Error) -> bool:
    return any(words in str(error) for words in ("malformed", "not a database"))


def _is_damage(error: sqlite3.Error, path: Path) -> bool:
    """Whether the file's content is at fault, not the disk, the permissions or another process."""
    if os.path.lexists(path) and not path.is_file():
        return True
    if isinstance(error, sqlite3.OperationalError) and "readonly" in str(error).lower():
        return _claims_to_be_of_the_future(path)
    return not (isinstance(error, sqlite3.OperationalError) and any(word in str(error).lower() for word in _NOT_DAMAGE))


def _claims_to_be_of_the_future(path: Path) -> bool:
    """Whether the header's "write version" (byte 18 of the SQLite file format, 1 or 2) is one that SQLite only reads: nobody wrote that."""
    with path.open("rb") as file:
        return file.read(19)[18:] not in (b"", b"\x01", b"\x02")
