"""The rows of the queue: what was accepted, in which order it runs, how it ended. The only truth about a job.

Every change is on the disk before the method returns. Knows no threads of work, no engine and no page; `queue` decides, this remembers.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from modules.domain.errors import InvalidRequest, QueueFull
from modules.domain.jobs import Job, JobRequest, JobState, request_from_json
from modules.domain.viewers import Owners
from modules.settings.database import Database, one_of
from modules.settings.schema import Settings
from modules.settings.values import settings_from_json, settings_to_json

MAX_CRASHES = 2
"""A job with which the engine died this often is quarantined."""

_COLUMNS = (
    "seq, id, state, request, settings, entropy, owner, source, created, started, finished, attempt, crashes, idempotency_key, error, notes"
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    rank INTEGER NOT NULL DEFAULT 0,
    request TEXT NOT NULL,
    settings TEXT NOT NULL,
    entropy TEXT NOT NULL,
    owner TEXT NOT NULL,
    source TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT,
    error TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS jobs_by_turn ON jobs (state, rank, seq);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, seq);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
"""

_FRONT = "(SELECT COALESCE(MIN(rank), 0) - 1 FROM jobs WHERE state = 'queued')"


class JobStore:
    """The jobs table. Every method may be called from any thread and raises `StorageError` when the disk does not play along."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=_SCHEMA, probe=f"SELECT {_COLUMNS} FROM jobs LIMIT 1")

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the file."""
        return (self._database.problem,) if self._database.problem else ()

    def add(
        self,
        request: JobRequest,
        settings: Settings,
        *,
        owner: str = "",
        source: str = "ui",
        idempotency_key: str | None = None,
        limit: int,
    ) -> tuple[Job, bool]:
        """A new queued job, or the one that this owner's key already made; True when new. Raises `QueueFull` beyond `limit` waiting."""
        with self._database.writing() as connection:
            if idempotency_key is not None:
                known = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE owner = ? AND idempotency_key = ?", (owner, idempotency_key))
                row = known.fetchone()
                if row is not None:
                    return _job(row), False
            waiting = connection.execute("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
            if waiting >= limit:
                raise QueueFull(f"{waiting} jobs are waiting already, more are not accepted. Cancel some or try again later.")
            job_id = secrets.token_hex(10)
            connection.execute(
                "INSERT INTO jobs (id, state, request, settings, entropy, owner, source, created, idempotency_key)"
                " VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    json.dumps(request.to_json()),
                    _settings_text(settings),
                    str(secrets.randbits(63)),
                    owner,
                    source,
                    time.time(),
                    idempotency_key,
                ),
            )
            return _job(connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()), True

    def claim(self) -> Job | None:
        """The next job, now running with its attempt counted, or None. One that this version can't read is failed and passed over."""
        with self._database.writing() as connection:
            while True:
                row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE state = 'queued' ORDER BY rank, seq LIMIT 1").fetchone()
                if row is None:
                    return None
                job, now = _readable(row), time.time()
                if job is not None:
                    connection.execute(
                        "UPDATE jobs SET state = 'running', attempt = attempt + 1, started = ? WHERE seq = ?", (now, job.seq)
                    )
                    return replace(job, state="running", attempt=job.attempt + 1, started=now)
                reason = "This version can't read the stored request. Click Generate again."
                connection.execute("UPDATE jobs SET state = 'failed', finished = ?, error = ? WHERE seq = ?", (now, reason, row[0]))

    def finish(self, job_id: str, attempt: int, state: JobState, *, error: str = "", notes: Iterable[str] = ()) -> bool:
        """End a running job; False when that attempt is not the running one any more, and nothing was changed then."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, error = ?, notes = ? WHERE id = ? AND attempt = ? AND state = 'running'",
                (state, time.time(), error, json.dumps(list(notes)), job_id, attempt),
            )
            return changed.rowcount == 1

    def give_back(self, job_id: str, attempt: int, *, crashed: bool, error: str = "") -> JobState | None:
        """Put a running job in front of the queue again, or into quarantine when this was its last crash; None for a stale attempt."""
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT crashes FROM jobs WHERE id = ? AND attempt = ? AND state = 'running'", (job_id, attempt)
            ).fetchone()
            return None if row is None else _give_back(connection, job_id, row[0] + int(crashed), crashed, error)

    def recover(self) -> list[tuple[str, JobState]]:
        """After a start: every job that was running when the program died is queued again, in front, or quarantined."""
        error = "The program ended while it worked on this job, more than once. Click Generate again to try it anyway."
        with self._database.writing() as connection:
            rows = connection.execute("SELECT id, crashes FROM jobs WHERE state = 'running' ORDER BY rank DESC, seq DESC").fetchall()
            return [(row[0], _give_back(connection, row[0], row[1] + 1, True, error)) for row in rows]

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that still waits; False when it does not."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ? WHERE id = ? AND state = 'queued'", (time.time(), job_id)
            )
            return changed.rowcount == 1

    def cancel_waiting(self, owners: Owners) -> list[str]:
        """Cancel every waiting job of `owners`; their ids."""
        theirs, names = one_of("owner", owners)
        with self._database.writing() as connection:
            ids = [row[0] for row in connection.execute(f"SELECT id FROM jobs WHERE state = 'queued' AND {theirs}", names)]
            connection.execute(
                f"UPDATE jobs SET state = 'cancelled', finished = ? WHERE state = 'queued' AND {theirs}", (time.time(), *names)
            )
            return ids

    def move_first(self, job_id: str) -> bool:
        """Let a waiting job be the next; False when it does not wait."""
        with self._database.writing() as connection:
            changed = connection.execute(f"UPDATE jobs SET rank = {_FRONT} WHERE id = ? AND state = 'queued'", (job_id,))
            return changed.rowcount == 1

    def get(self, job_id: str) -> Job | None:
        """The job as it is now, or None."""
        with self._database.reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _readable(row)

    def active(self, owners: Owners = None, limit: int = -1) -> list[Job]:
        """What runs and what waits, in the order in which it will be done."""
        theirs, names = one_of("owner", owners)
        found: list[tuple[Any, ...]] = []
        with self._database.reading() as connection:
            # One query for each, so that both read along the index instead of sorting all that wait.
            for state in ("running", "queued"):
                query = f"SELECT {_COLUMNS} FROM jobs WHERE state = '{state}' AND {theirs} ORDER BY rank, seq LIMIT ?"
                found += connection.execute(query, (*names, limit if limit < 0 else limit - len(found))).fetchall()
        return [job for job in map(_readable, found) if job is not None]

    def latest(self, owners: Owners = None, limit: int = 100) -> list[Job]:
        """Jobs of any state, the last accepted first."""
        theirs, names = one_of("owner", owners)
        with self._database.reading() as connection:
            query = f"SELECT {_COLUMNS} FROM jobs WHERE {theirs} ORDER BY seq DESC LIMIT ?"
            rows = connection.execute(query, (*names, limit)).fetchall()
        return [job for job in map(_readable, rows) if job is not None]

    def position(self, job_id: str) -> int:
        """How many jobs come before this one, the running one counted; 0 when it does not wait."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT rank, seq FROM jobs WHERE id = ? AND state = 'queued'", (job_id,)).fetchone()
            if row is None:
                return 0
            before = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND (rank, seq) < (?, ?)"
            running = "SELECT COUNT(*) FROM jobs WHERE state = 'running'"
            return int(connection.execute(before, row).fetchone()[0]) + int(connection.execute(running).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _give_back(connection: sqlite3.Connection, job_id: str, crashes: int, crashed: bool, error: str) -> JobState:
    if crashed and crashes >= MAX_CRASHES:
        connection.execute(
            "UPDATE jobs SET state = 'quarantined', crashes = ?, finished = ?, error = ? WHERE id = ?",
            (crashes, time.time(), error, job_id),
        )
        return "quarantined"
    connection.execute(f"UPDATE jobs SET state = 'queued', crashes = ?, rank = {_FRONT} WHERE id = ?", (crashes, job_id))
    return "queued"


def _readable(row: tuple[Any, ...]) -> Job | None:
    """The job of a row, or None for a request that another version wrote and this one does not understand."""
    try:
        return _job(row)
    except (InvalidRequest, ValueError, TypeError, LookupError, AttributeError):
        return None


def _job(row: tuple[Any, ...]) -> Job:
    values: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["request"] = request_from_json(json.loads(values["request"]))
    values["settings"] = _settings(values["settings"])
    values["entropy"] = int(values["entropy"])
    values["notes"] = tuple(json.loads(values["notes"]))
    return Job(**values)


def _settings_text(settings: Settings) -> str:
    return json.dumps(settings_to_json(settings))


@lru_cache(maxsize=64)
def _settings(text: str) -> Settings:
    """Most jobs share their settings: each distinct snapshot is parsed once."""
    return settings_from_json(json.loads(text))
