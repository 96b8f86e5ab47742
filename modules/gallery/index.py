"""Which pictures there are: one row a file, found by id, by job or by time without ever listing a folder.

A row is complete when it can be seen. While a file is on its way to its name, that name stands in `pending`: after a crash the start finds
out from it whether the file arrived. Knows rows, not how files are written.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from modules.domain.results import SavedImage
from modules.domain.viewers import Owners
from modules.settings.database import Database, one_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A picture with everything that is kept of it. `path` is relative to the folder that `root` names, with forward slashes."""

    id: str
    job_id: str
    idx: int
    kind: str
    owner: str
    root: str
    path: str
    width: int
    height: int
    seed: int
    infotext: str
    prompt: str
    created: float
    size: int
    note: str = ""
    favourite: bool = False

    def to_image(self) -> SavedImage:
        """The part of the row that everybody may see."""
        return SavedImage(
            id=self.id,
            job_id=self.job_id,
            index=self.idx,
            kind=self.kind,
            path=self.path,
            width=self.width,
            height=self.height,
            seed=self.seed,
            infotext=self.infotext,
            created=self.created,
            favourite=self.favourite,
            note=self.note,
        )


_NAMES = tuple(item.name for item in fields(Row) if item.name != "favourite")
_COLUMNS = ", ".join(_NAMES)
_SELECTED = f"{_COLUMNS}, EXISTS (SELECT 1 FROM favourites WHERE image_id = images.id)"
_AND_FAVOURITE = " AND id IN (SELECT image_id FROM favourites)"
_NO_FAVOURITE = " AND id NOT IN (SELECT image_id FROM favourites)"
_LOOKED_AT = "kind NOT LIKE 'frame-%'"
"""The frames of films are looked at in their film."""

_MARKS = ", ".join("?" for _ in _NAMES)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    root TEXT NOT NULL,
    path TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    prompt TEXT NOT NULL,
    created REAL NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    UNIQUE (job_id, idx, kind)
);
CREATE INDEX IF NOT EXISTS images_by_time ON images (created);
CREATE INDEX IF NOT EXISTS images_by_owner ON images (owner, created);
CREATE INDEX IF NOT EXISTS images_unsaved ON images (seq) WHERE root = 'unsaved';
CREATE TABLE IF NOT EXISTS pending (id TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS favourites (image_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS named (name TEXT NOT NULL);
"""


class GalleryIndex:
    """The images table. Every method may be called from any thread and raises `StorageError` when the disk does not play along."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path, schema=_SCHEMA, probe=f"SELECT {_SELECTED}, seq, (SELECT row FROM pending LIMIT 1) FROM images LIMIT 1"
        )

    @property
    def name(self) -> str:
        """What this file is known by, and no other that takes its place."""
        with self._database.writing() as connection:
            connection.execute("INSERT INTO named (name) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM named)", (self.new_id(),))
            return connection.execute("SELECT name FROM named").fetchone()[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the file."""
        return (self._database.problem,) if self._database.problem else ()

    def new_id(self) -> str:
        """An id that nobody can guess: it is what picture URLs are made of."""
        return secrets.token_urlsafe(15)

    def reserve(self, row: Row) -> None:
        """Note where a file is about to be put; once more for the same id notes another place.

        It does not wait for the disk: what a power cut loses here leaves a file without a row, and the picture is drawn again.
        """
        with self._database.writing(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO pending (id, row) VALUES (?, ?)", (row.id, json.dumps(asdict(row))))

    def release(self, image_id: str) -> None:
        """Forget a reservation: the file was not put there."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM pending WHERE id = ?", (image_id,))

    def complete(self, row: Row) -> Row:
        """Make the row of a reserved picture visible; it is on the disk when this returns. The job's earlier row for that picture wins."""
        with self._database.writing() as connection:
            return _insert(connection, row)

    def settle(self, arrived: Callable[[Row], bool]) -> list[Row]:
        """After a crash: complete the pending rows whose file `arrived`, drop the others; the completed ones."""
        with self._database.writing() as connection:
            pending = [Row(**json.loads(text)) for (text,) in connection.execute("SELECT row FROM pending")]
            completed = [_insert(connection, row) for row in pending if arrived(row) and not _taken(connection, row)]
            connection.execute("DELETE FROM pending")
        return completed

    def get(self, image_id: str) -> Row | None:
        """The picture with this id."""
        return self._one("WHERE id = ?", image_id)

    def find(self, job_id: str, idx: int, kind: str) -> Row | None:
        """The job's picture number `idx`."""
        return self._one("WHERE job_id = ? AND idx = ? AND kind = ?", job_id, idx, kind)

    def for_job(self, job_id: str) -> list[Row]:
        """All pictures of a job, its grid first."""
        return self._many("WHERE job_id = ? ORDER BY idx", job_id)

    def indices(self, job_id: str) -> frozenset[int]:
        """The numbers of the job's pictures that are saved, grids not counted."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT idx FROM images WHERE job_id = ? AND kind = 'image'", (job_id,)).fetchall()
        return frozenset(row[0] for row in rows)

    def recent(self, limit: int, before: float, owners: Owners, *, favourites: bool = False) -> list[Row]:
        """The newest pictures first, those created before `before` only, without the frames of films."""
        theirs, names = one_of("owner", owners)
        wanted = f"{theirs} AND created < ? AND {_LOOKED_AT}{_AND_FAVOURITE if favourites else ''}"
        return self._many(f"WHERE {wanted} ORDER BY created DESC LIMIT ?", *names, before, limit)

    def among(self, seqs: Sequence[int], limit: int, before: float, owners: Owners, *, favourites: bool = False) -> list[Row]:
        """Those of the rows with these numbers that `recent` would give, the highest number first."""
        theirs, names = one_of("+owner", owners)
        numbered = "seq IN (SELECT value FROM json_each(?))"
        wanted = f"{numbered} AND {theirs} AND created < ? AND {_LOOKED_AT}{_AND_FAVOURITE if favourites else ''}"
        return self._many(f"WHERE {wanted} ORDER BY seq DESC LIMIT ?", json.dumps(seqs), *names, before, limit)

    def texts_after(self, seq: int, limit: int) -> list[tuple[int, str]]:
        """(number, infotext) of the rows behind number `seq`, the lowest first."""
        with self._database.reading() as connection:
            return connection.execute("SELECT seq, infotext FROM images WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)).fetchall()

    def numbers_before(self, created: float) -> int:
        """A number that all rows of pictures created before `created` are below."""
        with self._database.reading() as connection:
            found = connection.execute("SELECT seq FROM images WHERE created < ? ORDER BY seq DESC LIMIT 1", (created,)).fetchone()
        return 0 if found is None else found[0] + 1

    def set_favourite(self, image_id: str, favourite: bool) -> None:
        """Note whether a picture is one of its owner's favourites."""
        change = "INSERT OR IGNORE INTO favourites (image_id) VALUES (?)" if favourite else "DELETE FROM favourites WHERE image_id = ?"
        with self._database.writing() as connection:
            connection.execute(change, (image_id,))

    def oldest_unsaved(self, keep: int, except_job: str) -> list[Row]:
        """The pictures in the root `unsaved` beyond the newest `keep` of other jobs than `except_job`, favourites left out."""
        wanted = f"root = 'unsaved' AND job_id <> ?{_NO_FAVOURITE}"
        return self._many(f"WHERE {wanted} ORDER BY seq DESC LIMIT -1 OFFSET ?", except_job, keep)

    def remove(self, image_id: str) -> None:
        """Drop a row; the file is the caller's to delete."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
            connection.execute("DELETE FROM favourites WHERE image_id = ?", (image_id,))

    def next_time(self) -> float:
        """The wall clock's seconds, but later than those of any row with nearly the same: paging by time must not skip one."""
        now = time.time()
        with self._database.reading() as connection:
            latest = connection.execute("SELECT MAX(created) FROM images WHERE created < ?", (now + 1.0,)).fetchone()[0]
        return now if latest is None or latest < now else latest + 1e-5

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _one(self, where: str, *values: Any) -> Row | None:
        rows = self._many(f"{where} LIMIT 1", *values)
        return rows[0] if rows else None

    def _many(self, where: str, *values: Any) -> list[Row]:
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_SELECTED} FROM images {where}", values).fetchall()
        return [_row(values) for values in rows]


def _insert(connection: sqlite3.Connection, row: Row) -> Row:
    values = asdict(row)
    connection.execute(f"INSERT OR IGNORE INTO images ({_COLUMNS}) VALUES ({_MARKS})", tuple(values[name] for name in _NAMES))
    connection.execute("DELETE FROM pending WHERE id = ?", (row.id,))
    found = connection.execute(
        f"SELECT {_SELECTED} FROM images WHERE job_id = ? AND idx = ? AND kind = ?", (row.job_id, row.idx, row.kind)
    ).fetchone()
    return _row(found)


def _taken(connection: sqlite3.Connection, row: Row) -> bool:
    """Whether the file at the row's place is another picture's, which had the name first."""
    return connection.execute("SELECT 1 FROM images WHERE root = ? AND path = ?", (row.root, row.path)).fetchone() is not None


def _row(values: tuple[Any, ...]) -> Row:
    *named, favourite = values
    return Row(**dict(zip(_NAMES, named, strict=True)), favourite=bool(favourite))
