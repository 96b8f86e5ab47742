"""Where a finished picture ends up, under which name, and that it is there after whatever happens."""

from __future__ import annotations

import datetime
import os
import random
import signal
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from modules.domain.errors import ImageUnreadable, StorageError
from modules.domain.events import ImageDone
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.gallery import gallery as gallery_module
from modules.gallery.gallery import Gallery
from modules.imaging.files import encode_image, read_infotext
from modules.settings.paths import Paths
from modules.settings.schema import Saving, Settings

MANY = 8
TODAY = datetime.date.today().isoformat()


def paths_in(folder: Path) -> Paths:
    return Paths(
        data=folder, models=folder, checkpoints=(), vaes=(), loras=(), embeddings=folder / "embeddings", outputs=folder / "outputs"
    )


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return paths_in(tmp_path)


def a_job(job_id: str = "job1", prompt: str = "a red apple", **saving: object) -> Job:
    return Job(
        id=job_id,
        seq=1,
        state="running",
        request=GenerationRequest(prompt=prompt, steps=7, batch_size=2, checkpoint="sub/tiny.safetensors"),
        settings=replace(Settings(), saving=Saving(**saving)),
        entropy=1,
        created=0.0,
    )


def staged(
    paths: Paths, job: Job, index: int = 0, *, kind: str = "image", seed: int = 123, suffix: str = "png", name: str = ""
) -> ImageDone:
    """What an engine hands over: a complete file with its infotext."""
    infotext = f"{job.request.prompt}\nSteps: 7, Seed: {seed}"
    paths.staging.mkdir(parents=True, exist_ok=True)
    file = paths.staging / f"{name or job.id}-1-{index}-{kind}.{suffix}"
    rng = random.Random(f"{seed}-{index}")
    image = Image.frombytes("RGB", (24, 16), rng.randbytes(24 * 16 * 3))
    file.write_bytes(encode_image(image, suffix, infotext, 80))
    return ImageDone(
        job_id=job.id,
        index=index,
        kind=kind,
        staged=str(file),
        width=24,
        height=16,
        seed=seed,
        infotext=infotext,
        prompt=job.request.prompt,
        name_fields=(("sampler", "Euler a"), ("model_name", "tiny")),
    )


def saved_files(paths: Paths) -> list[str]:
    return sorted(
        path.relative_to(paths.outputs).as_posix() for path in paths.outputs.rglob("*") if path.is_file() and ".staging" not in path.parts
    )


def test_a_picture_gets_a1111s_name_a_row_and_params_txt(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    image = gallery.commit(staged(paths, job), job)
    assert saved_files(paths) == [f"txt2img-images/{TODAY}/00000-123.png"]
    assert gallery.get(image.id) == image
    assert gallery.for_job("job1") == [image]
    assert gallery.saved_indices("job1") == {0}
    assert read_infotext(gallery.path(image.id)) == image.infotext == paths.params_file.read_text()
    assert (image.width, image.height, image.seed, image.kind, image.note) == (24, 16, 123, "image", "")
    assert len(image.id) >= 16
    assert not list(paths.staging.iterdir())


def test_numbers_go_on_from_the_highest_in_the_folder(paths: Paths) -> None:
    folder = paths.outputs / "txt2img-images" / TODAY
    folder.mkdir(parents=True)
    for name in ("00003-1.png", "00011-2.jpg", "notes.txt", "2-a.png"):
        (folder / name).touch()
    gallery, job = Gallery(paths), a_job()
    gallery.commit(staged(paths, job), job)
    (folder / "00013-9.png").touch()
    gallery.commit(staged(paths, job, 1), job)
    assert (folder / "00012-123.png").is_file()
    assert (folder / "00013-123.png").is_file()
    assert (folder / "00013-9.png").read_bytes() == b"", "another program's file with the same number"


def test_grids_have_their_own_folder_and_numbers(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    folder = paths.outputs / "txt2img-grids" / TODAY
    folder.mkdir(parents=True)
    (folder / "grid-0002.png").touch()
    grid = gallery.commit(staged(paths, job, -1, kind="grid", suffix="jpg"), job)
    gallery.commit(staged(paths, job, 0), job)
    assert saved_files(paths)[:2] == [f"txt2img-grids/{TODAY}/grid-0002.png", f"txt2img-grids/{TODAY}/grid-0003.jpg"]
    assert gallery.saved_indices(job.id) == {0}
    assert gallery.for_job(job.id)[0].id == grid.id


@pytest.mark.parametrize(
    ("saving", "name"),
    [
        ({}, f"{TODAY}/00000-123.png"),
        ({"use_date_folders": False}, "00000-123-a red apple.png"),
        ({"filename_pattern": "[sampler]-[steps]"}, f"{TODAY}/00000-Euler a-7.png"),
        ({"filename_pattern": "[model_name] [width]x[height]", "number_files": False}, f"{TODAY}/tiny 512x512.png"),
        ({"filename_pattern": "[none]", "number_files": False}, f"{TODAY}/00000.png"),
        ({"date_pattern": "[model_name]/[seed]"}, "tiny/123/00000-123.png"),
        ({"filename_pattern": "../../../[seed]"}, None),
        ({"date_pattern": "../../.."}, None),
    ],
)
def test_patterns(paths: Paths, saving: dict[str, object], name: str | None) -> None:
    gallery, job = Gallery(paths), a_job(**saving)
    image = gallery.commit(staged(paths, job), job)
    assert gallery.path(image.id).is_relative_to(paths.outputs / "txt2img-images")
    assert name is None or saved_files(paths) == [f"txt2img-images/{name}"]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "日本語 🍎",
        "\u202egnp.exe",
        'a/b\\c:d*e?f"g<h>i|j',
        "CON",
        "..",
        ". . .",
        "x" * 70_000,
        "nul\x00byte",
        "two\nlines",
        "é" * 300,
        "end. ",
    ],
)
def test_any_prompt_is_saveable(paths: Paths, prompt: str) -> None:
    for number_files in (True, False):
        job = a_job(f"job-{number_files}", prompt, use_date_folders=False, filename_pattern="[prompt]", number_files=number_files)
        gallery = Gallery(paths)
        image = gallery.commit(staged(paths, job), job)
        assert gallery.path(image.id).parent == paths.outputs / "txt2img-images"
        assert read_infotext(gallery.path(image.id))
        gallery.close()


def test_a_long_and_foreign_data_folder(tmp_path: Path) -> None:
    paths = paths_in(tmp_path / ("ordner-ü-☃-" + "x" * 120) / ("y" * 120))
    gallery, job = Gallery(paths), a_job()
    assert gallery.path(gallery.commit(staged(paths, job), job).id).is_file()


def test_nothing_is_ever_overwritten(paths: Paths) -> None:
    gallery = Gallery(paths)
    for number in range(5):
        job = a_job(f"job{number}", filename_pattern="same", number_files=False)
        gallery.commit(staged(paths, job, seed=number), job)
    assert [name.rsplit("/", 1)[1] for name in saved_files(paths)] == ["same-1.png", "same-2.png", "same-3.png", "same-4.png", "same.png"]
    seeds = {read_infotext(paths.outputs / name) for name in saved_files(paths)}
    assert len(seeds) == 5


def test_the_same_picture_again_is_the_row_that_is_there(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    first = gallery.commit(staged(paths, job), job)
    again = gallery.commit(staged(paths, job, name="second-attempt"), job)
    assert again == first
    assert len(saved_files(paths)) == 1
    assert not list(paths.staging.iterdir())


def test_a_picture_that_the_user_deleted_meanwhile_is_saved_again(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    gallery.path(gallery.commit(staged(paths, job), job).id).unlink()
    again = gallery.commit(staged(paths, job), job)
    assert gallery.path(again.id).is_file()
    assert [image.id for image in gallery.for_job(job.id)] == [again.id]


def test_pictures_that_are_not_to_be_saved_are_kept_for_the_page_only(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "UNSAVED_KEPT", 5)
    gallery = Gallery(paths)
    images = []
    for number in range(8):
        job = a_job(f"job{number}", save_images=False)
        images.append(gallery.commit(staged(paths, job, seed=number), job))
    gone, kept = images[:2], images[2:]
    assert [gallery.get(image.id) for image in gone] == [None, None]
    assert all(gallery.path(image.id).is_file() for image in kept)
    assert len(saved_files(paths)) == len(kept)
    assert all(name.startswith(".unsaved/") for name in saved_files(paths))
    assert not paths.params_file.exists()


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


def test_paging_by_time_meets_every_picture_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    gallery = Gallery(paths)
    for number in range(25):
        job = replace(a_job(f"job{number}"), owner="ann" if number % 2 else "bob")
        gallery.commit(staged(paths, job, seed=number), job)
    for owner, count in ((None, 25), ("ann", 12), ("bob", 13)):
        seen: list[str] = []
        before = None
        while page := gallery.recent(4, before, owner):
            seen.extend(image.id for image in page)
            before = page[-1].created
        assert len(seen) == len(set(seen)) == count
    assert [image.seed for image in gallery.recent(3)] == [24, 23, 22]


def test_thumbnails_also_of_files_that_are_damaged_or_gone(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    images = [gallery.commit(staged(paths, job, index), job) for index in range(3)]
    gallery.path(images[1].id).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    gallery.path(images[2].id).unlink()
    for image in images:
        for side in (16, 256):
            with Image.open(gallery.thumbnail(image.id, side)) as small:
                assert max(small.size) <= side
    first = gallery.thumbnail(images[0].id, 16)
    assert first == gallery.thumbnail(images[0].id, 16)
    assert first.is_relative_to(paths.thumbnails)
    with pytest.raises(ImageUnreadable):
        gallery.thumbnail("no-such-id", 256)


def test_without_a_cache_folder_the_picture_itself_is_shown(paths: Paths) -> None:
    gallery, job = Gallery(paths), a_job()
    image = gallery.commit(staged(paths, job), job)
    paths.thumbnails.parent.mkdir(parents=True, exist_ok=True)
    paths.thumbnails.write_text("")
    assert gallery.thumbnail(image.id, 16) == gallery.path(image.id)


def test_a_row_that_points_elsewhere_shows_nothing(paths: Paths, tmp_path: Path) -> None:
    gallery, job = Gallery(paths), a_job()
    image = gallery.commit(staged(paths, job), job)
    (tmp_path / "secret").write_text("secret")
    with gallery._index._database.writing() as connection:
        connection.execute("UPDATE images SET path = '../secret'")
    with pytest.raises(ImageUnreadable):
        gallery.path(image.id)


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
