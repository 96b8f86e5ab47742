"""Whatever fails or dies while pictures are saved, none is lost and none is there twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from modules.domain.errors import StorageError
from modules.domain.jobs import Job
from modules.gallery.gallery import Gallery
from modules.imaging.files import read_infotext
from modules.settings.paths import Paths
from tests.gallery.pictures import a_job, paths_in, saved_files, staged

MANY = 8


def test_a_folder_that_cannot_be_written_costs_no_picture(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    event = staged(paths, job)
    (paths.outputs / "txt2img-images").write_text("a file where the folder should be")
    image = gallery.commit(event, job)
    assert gallery.path(image.id).parent == paths.rescue
    assert read_infotext(gallery.path(image.id)) == image.infotext
    assert "txt2img-images" in image.note
    assert "rescue" in image.note
    assert gallery.get(image.id) == image


def test_no_place_at_all_is_an_error_that_keeps_the_file(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    event = staged(paths, job)
    (paths.outputs / "txt2img-images").write_text("")
    paths.rescue.write_text("")
    with pytest.raises(StorageError, match="Free some space"):
        gallery.commit(event, job)
    assert Path(event.staged).is_file()
    assert gallery.for_job(job.id) == []


@pytest.mark.parametrize("failing", ["os.link", "everything"])
def test_disks_without_links_and_other_disks(paths: Paths, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    if failing == "everything":
        monkeypatch.setattr("modules.gallery.saver._on_the_same_disk", _copied)
    gallery = Gallery(paths)
    for number in range(3):
        job = a_job(f"job{number}", filename_pattern="same", number_files=False)
        gallery.commit(staged(paths, job, seed=number), job)
    assert len({read_infotext(paths.outputs / name) for name in saved_files(paths)}) == 3
    assert not list(paths.staging.iterdir())


def test_a_crash_between_name_and_row_is_put_right_at_the_next_start(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, job = Gallery(paths), a_job()
    with monkeypatch.context() as patch:
        patch.setattr(gallery._index, "complete", _die)
        with pytest.raises(KeyboardInterrupt):
            gallery.commit(staged(paths, job), job)
    gallery.close()
    again = Gallery(paths)
    assert len(again.for_job(job.id)) == 1
    assert again.path(again.for_job(job.id)[0].id).is_file()
    assert again.saved_indices(job.id) == {0}


def test_a_crash_between_reservation_and_name_leaves_no_row(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, job = Gallery(paths), a_job()
    with monkeypatch.context() as patch:
        patch.setattr("modules.gallery.saver._claim", _die)
        with pytest.raises(KeyboardInterrupt):
            gallery.commit(staged(paths, job), job)
    gallery.close()
    assert Gallery(paths).for_job(job.id) == []


@pytest.mark.parametrize("rounds", [25, pytest.param(150, marks=pytest.mark.slow)])
def test_kills_lose_and_double_no_picture(paths: Paths, rounds: int) -> None:
    """Children commit pictures until they are killed; each that was reported is there, readable and once."""
    rng = random.Random(5)
    reported = kills = 0
    for number in range(rounds):
        job = a_job(f"job{number}")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _commit_for_ever(paths, job, writer)
        os.close(writer)
        assert os.read(reader, 2) == b"0\n"
        time.sleep(rng.random() * 0.1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader) as lines:
            acknowledged = [0, *(int(line) for line in lines.read().split("\n")[:-1])]
        gallery = Gallery(paths)
        indices = gallery.saved_indices(job.id)
        assert set(acknowledged) <= indices
        assert indices == frozenset(range(len(indices)))
        assert all(_whole(gallery.path(image.id)) for image in gallery.for_job(job.id)[-2:])
        gallery.close()
        reported, kills = reported + len(acknowledged), kills + 1
    gallery = Gallery(paths)
    shown = [gallery.path(image.id).relative_to(paths.outputs).as_posix() for image in gallery.recent(10_000)]
    assert sorted(shown) == saved_files(paths), "every file has its row and every row its file"
    assert all(_whole(paths.outputs / name) for name in shown)
    assert kills == rounds
    assert reported


def test_eight_programs_save_under_the_same_name(paths: Paths) -> None:
    children = [_forked(lambda number=number: _save_many(paths, number)) for number in range(8)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    names = saved_files(paths)
    assert len(names) == 8 * MANY
    assert len({zlib.crc32((paths.outputs / name).read_bytes()) for name in names}) == 8 * MANY


def test_threads_may_commit_together(paths: Paths) -> None:
    gallery = Gallery(paths)
    threads = [threading.Thread(target=_save_with, args=(gallery, paths, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(saved_files(paths)) == 8 * MANY == len(gallery.recent(1000))
    assert len({image.created for image in gallery.recent(1000)}) == 8 * MANY


def test_damaged_gallery_files_are_kept_and_the_program_starts(tmp_path: Path) -> None:
    rng = random.Random(6)
    paths = paths_in(tmp_path / "good")
    gallery = Gallery(paths)
    for number in range(20):
        job = a_job(f"job{number}")
        gallery.commit(staged(paths, job), job)
    gallery.close()
    good = paths.gallery_db.read_bytes()
    moved = 0
    for number in range(40):
        data = bytearray(good)
        for _ in range(rng.choice((1, 30, 3000))):
            data[rng.randrange(len(data) if number % 2 else 200)] = rng.randrange(256)
        broken = paths_in(tmp_path / str(number))
        broken.state.mkdir(parents=True)
        broken.gallery_db.write_bytes(data)
        gallery = Gallery(broken)
        gallery.recent(100)
        job = a_job("new")
        assert gallery.path(gallery.commit(staged(broken, job), job).id).is_file()
        gallery.close()
        kept = list(broken.state.glob("gallery.sqlite.corrupt-*"))
        assert bool(kept) == bool(gallery.problems)
        moved += len(kept)
    assert moved > 10


def _copied(source: Path, folder: Path) -> Path:
    copy = folder / f".moving-{source.name}"
    copy.write_bytes(source.read_bytes())
    return copy


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def _whole(path: Path) -> bool:
    data = path.read_bytes()
    with Image.open(path) as image:
        image.load()
    return data.endswith(b"IEND\xaeB`\x82")


def _forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def _commit_for_ever(paths: Paths, job: Job, writer: int) -> None:
    try:
        gallery = Gallery(paths)
        for index in range(100_000):
            gallery.commit(staged(paths, job, index), job)
            os.write(writer, b"%d\n" % index)
    finally:
        os._exit(1)


def _save_many(paths: Paths, number: int) -> None:
    _save_with(Gallery(paths), paths, number)


def _save_with(gallery: Gallery, paths: Paths, number: int) -> None:
    job = a_job(f"job{number}", filename_pattern="same", number_files=False)
    for index in range(MANY):
        gallery.commit(staged(paths, job, index, seed=number), job)
