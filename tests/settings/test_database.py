"""A file that turns out to be damaged while the program runs is looked through at the next start, however large it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.domain.errors import StorageError
from modules.settings import database
from modules.settings.database import Database, one_of


def opened(path: Path) -> Database:
    return Database(
        path, schema="CREATE TABLE IF NOT EXISTS texts (number INTEGER PRIMARY KEY, text TEXT)", probe="SELECT text FROM texts LIMIT 1"
    )


def filled(path: Path) -> None:
    made = opened(path)
    with made.writing() as connection:
        connection.executemany("INSERT INTO texts (text) VALUES (?)", [("x" * 1000,) for _ in range(500)])
    made.close()


def test_damage_that_is_met_later_is_told_and_mended_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CHECKED_WHOLE", 0)
    path = tmp_path / "texts.sqlite"
    filled(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40_000] = b"\xaa" * 40_000
    path.write_bytes(data)
    met = opened(path)
    assert met.problem == ""  # the first page is all that is read of a large file
    with pytest.raises(StorageError, match="Restart the program"), met.reading() as connection:
        connection.execute("SELECT sum(length(text)) FROM texts").fetchone()
    met.close()
    again = opened(path)
    assert "was damaged" in again.problem
    (kept,) = tmp_path.glob("texts.sqlite.corrupt-*")
    assert b"\xaa" * 40_000 in kept.read_bytes()
    with again.reading() as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (0,)
    again.close()
    last = opened(path)
    assert last.problem == ""
    last.close()


def test_a_file_that_was_suspected_wrongly_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "texts.sqlite"
    filled(path)
    (tmp_path / "texts.sqlite-damaged").touch()
    made = opened(path)
    with made.reading() as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (500,)
    made.close()
    assert made.problem == ""
    assert not (tmp_path / "texts.sqlite-damaged").exists()


def test_one_of_several_values() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE rows (owner TEXT)")
        connection.executemany("INSERT INTO rows VALUES (?)", [("ann",), ("bob",), ("",)])
        for values, count in ((None, 3), (("ann",), 1), (("ann", ""), 2), ((), 0)):
            sql, names = one_of("owner", values)
            assert connection.execute(f"SELECT count(*) FROM rows WHERE {sql}", names).fetchone() == (count,)
