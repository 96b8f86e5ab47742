"""A file of jobs that is damaged, or of a newer version, costs what is in it at most: the program starts, and says so."""

from __future__ import annotations

import random
from pathlib import Path

from modules.jobs.store import JobStore
from tests.jobs.house import house


def test_damaged_job_files_are_kept_and_the_program_starts(tmp_path: Path) -> None:
    rng = random.Random(4)
    with house(tmp_path / "good", kind="thread", start=False) as made:
        for _ in range(12):
            made.submit()
    good = (tmp_path / "good" / "db" / "jobs.sqlite").read_bytes()
    moved = 0
    for number in range(60):
        data = bytearray(good)
        if number % 3 == 0:
            data = data[: rng.randrange(len(data))]
        for _ in range(rng.choice((1, 30, 3000)) if data else 0):
            data[rng.randrange(min(len(data), 200) if number % 2 else len(data))] = rng.randrange(256)
        file = tmp_path / f"{number}.sqlite"
        file.write_bytes(data)
        store = JobStore(file)
        store.recover()
        store.latest()
        while store.claim() is not None:
            pass
        store.close()
        kept = list(tmp_path.glob(f"{number}.sqlite.corrupt-*"))
        assert bool(kept) == bool(store.problems)
        moved += len(kept)
    assert moved > 20


def test_a_table_definition_that_is_no_text_any_more_is_damage_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    JobStore(file).close()
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"CREATE TABLE jobs", b"CREATE \x82ABLE jobs"))
    assert file.read_bytes() != whole
    store = JobStore(file)
    assert "can't be read" in store.problems[0], store.problems
    assert store.latest() == []
    store.close()
    (kept,) = tmp_path.glob("jobs.sqlite.corrupt-*")
    assert b"\x82ABLE" in kept.read_bytes()


def test_a_header_that_forbids_writing_is_damage_not_a_lack_of_permission(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    JobStore(file).close()
    whole = bytearray(file.read_bytes())
    whole[18] = 77
    file.write_bytes(whole)
    store = JobStore(file)
    assert len(store.problems) == 1
    store.close()
    assert len(list(tmp_path.glob("jobs.sqlite.corrupt-*"))) == 1


def test_a_request_of_a_newer_version_is_failed_and_passed_over(tmp_path: Path) -> None:
    with house(tmp_path, kind="thread", start=False) as made:
        strange, good = made.submit(), made.submit()
        with made.store._database.writing() as connection:
            connection.execute("UPDATE jobs SET request = '{\"telepathy\": 1}' WHERE id = ?", (strange.id,))
        made.queue.start()
        assert made.wait(good).state == "done"
        assert made.queue.get(strange.id) is None
        assert [job.id for job in made.queue.list()] == [good.id]
        assert made.queue.list(active_only=True) == []
