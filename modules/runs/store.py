"""The rows of the runs: what was accepted, which job draws which of its requests, how it ended.

Every change is on the disk before the method returns. Knows no script: a run's values are what they were when it was accepted.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modules.domain.errors import InvalidRequest
from modules.domain.requests import GenerationRequest
from modules.domain.viewers import Owners
from modules.runs.run import ACTIVE, Run, RunState
from modules.scripts.script import Outcome, Sheet
from modules.settings.database import Database, one_of
from modules.settings.schema import Settings
from modules.settings.values import settings_from_json, settings_to_json

_COLUMNS = (
    "seq, id, state, script, tab, request, settings, given, entropy, owner, source, created, finished, round, error, notes, sheet, shown"
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    script TEXT NOT NULL,
    tab TEXT NOT NULL,
    request TEXT NOT NULL,
    settings TEXT NOT NULL,
    given TEXT NOT NULL,
    entropy TEXT NOT NULL,
    owner TEXT NOT NULL,
    source TEXT NOT NULL,
    created REAL NOT NULL,
    finished REAL,
    round INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]',
    sheet TEXT NOT NULL DEFAULT '',
    shown TEXT NOT NULL DEFAULT 'null'
);
CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state);
CREATE INDEX IF NOT EXISTS runs_by_owner ON runs (owner, seq);
CREATE TABLE IF NOT EXISTS run_jobs (
    run_id TEXT NOT NULL,
    request_key TEXT NOT NULL,
    occurrence INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (run_id, request_key, occurrence)
);
CREATE INDEX IF NOT EXISTS run_jobs_by_job ON run_jobs (job_id);
"""

_MARKS = ", ".join("?" for _ in ACTIVE)


class RunStore:
    """The tables. Every method may be called from any thread and raises `StorageError` when the disk does not play along."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema=_SCHEMA, probe=f"SELECT {_COLUMNS}, (SELECT job_id FROM run_jobs LIMIT 1) FROM runs LIMIT 1")

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the file."""
        return (self._database.problem,) if self._database.problem else ()

    def new(
        self,
        script: str,
        tab: str,
        request: GenerationRequest,
        settings: Settings,
        values: dict[str, Any],
        *,
        owner: str,
        source: str,
    ) -> Run:
        """A run that is not stored yet."""
        return Run(
            id=secrets.token_hex(10),
            seq=0,
            state="running",
            script=script,
            tab=tab,
            request=request,
            settings=settings,
            values=values,
            entropy=secrets.randbits(63),
            owner=owner,
            source=source,
            created=time.time(),
        )

    def add(self, run: Run) -> Run:
        """Store a new run."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO runs (id, state, script, tab, request, settings, given, entropy, owner, source, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id,
                    run.state,
                    run.script,
                    run.tab,
                    json.dumps(run.request.to_json()),
                    json.dumps(settings_to_json(run.settings)),
                    json.dumps(run.values),
                    str(run.entropy),
                    run.owner,
                    run.source,
                    run.created,
                ),
            )
            return _run(connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run.id,)).fetchone())

    def move(self, run_id: str, before: Iterable[RunState], after: RunState) -> bool:
        """Change the state; False where it is not one of `before`, and nothing was changed then."""
        states = tuple(before)
        with self._database.writing() as connection:
            changed = connection.execute(
                f"UPDATE runs SET state = ? WHERE id = ? AND state IN ({', '.join('?' for _ in states)})", (after, run_id, *states)
            )
            return changed.rowcount == 1

    def finish(self, run_id: str, state: RunState, *, error: str = "", outcome: Outcome | None = None) -> None:
        """End an active run."""
        ended = outcome or Outcome()
        sheet = json.dumps(asdict(ended.sheet)) if ended.sheet else ""
        with self._database.writing() as connection:
            connection.execute(
                f"UPDATE runs SET state = ?, finished = ?, error = ?, notes = ?, sheet = ?, shown = ? WHERE id = ? AND state IN ({_MARKS})",
                (state, time.time(), error, json.dumps(ended.notes), sheet, json.dumps(ended.shown), run_id, *ACTIVE),
            )

    def begin_again(self, run_id: str, values: dict[str, Any], without: Iterable[str]) -> bool:
        """Let an ended run go on with these values, without the jobs named, whose requests are asked again; False where it is active."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE runs SET state = 'running', finished = NULL, error = '', notes = '[]', sheet = '', shown = 'null',"
                " given = ?, round = round + 1"
                f" WHERE id = ? AND state NOT IN ({_MARKS})",
                (json.dumps(values), run_id, *ACTIVE),
            )
            if changed.rowcount == 1:
                connection.executemany("DELETE FROM run_jobs WHERE run_id = ? AND job_id = ?", [(run_id, job) for job in without])
            return changed.rowcount == 1

    def put_job(self, run_id: str, key: str, occurrence: int, job_id: str) -> None:
        """Note which job draws the `occurrence`-th of the run's requests with this key."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO run_jobs VALUES (?, ?, ?, ?)", (run_id, key, occurrence, job_id))

    def jobs(self, run_id: str) -> dict[tuple[str, int], str]:
        """The run's jobs by (key, occurrence), in the order in which they were noted."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT request_key, occurrence, job_id FROM run_jobs WHERE run_id = ? ORDER BY rowid", (run_id,)
            ).fetchall()
        return {(key, occurrence): job_id for key, occurrence, job_id in rows}

    def active_jobs(self) -> frozenset[str]:
        """The jobs of all runs that are not over."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT job_id FROM run_jobs WHERE run_id IN (SELECT id FROM runs WHERE state IN ({_MARKS}))", ACTIVE
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def run_of(self, job_id: str) -> str:
        """The id of the run that a job belongs to, else ""."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT run_id FROM run_jobs WHERE job_id = ?", (job_id,)).fetchone()
        return "" if row is None else str(row[0])

    def get(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        found = self._many("WHERE id = ?", run_id)
        return found[0] if found else None

    def active(self, owners: Owners = None) -> list[Run]:
        """Those that are not over, the first accepted first."""
        theirs, names = one_of("owner", owners)
        return self._many(f"WHERE state IN ({_MARKS}) AND {theirs} ORDER BY seq", *ACTIVE, *names)

    def latest(self, owners: Owners, limit: int) -> list[Run]:
        """The last accepted first."""
        theirs, names = one_of("owner", owners)
        return self._many(f"WHERE {theirs} ORDER BY seq DESC LIMIT ?", *names, limit)

    def inputs(self) -> frozenset[str]:
        """The ids of the pictures that runs which are not over begin from."""
        return frozenset(name for run in self.active() for name in run.request.inputs)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _many(self, where: str, *values: Any) -> list[Run]:
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM runs {where}", values).fetchall()
        return [run for run in map(_readable, rows) if run is not None]


def _readable(row: tuple[Any, ...]) -> Run | None:
    """The run of a row, or None for one that another version wrote and this one does not understand."""
    try:
        return _run(row)
    except (InvalidRequest, ValueError, TypeError, LookupError, AttributeError):
        return None


def _run(row: tuple[Any, ...]) -> Run:
    values: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["request"] = GenerationRequest.from_json(json.loads(values["request"]))
    values["settings"] = settings_from_json(json.loads(values["settings"]))
    values["values"] = json.loads(values.pop("given"))
    values["entropy"] = int(values["entropy"])
    values["notes"] = tuple(json.loads(values["notes"]))
    values["sheet"] = _sheet(json.loads(values["sheet"])) if values["sheet"] else None
    shown = json.loads(values["shown"])
    values["shown"] = None if shown is None else tuple(map(str, shown))
    return Run(**values)


def _sheet(data: dict[str, Any]) -> Sheet:
    return Sheet(axes=tuple((str(name), tuple(map(str, labels))) for name, labels in data["axes"]), cells=tuple(map(str, data["cells"])))
