"""Where a finished picture ends up, and under which name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modules.gallery import gallery as gallery_module
from modules.gallery.gallery import Gallery
from modules.imaging.files import read_infotext
from modules.settings.paths import Paths
from tests.gallery.pictures import TODAY, a_job, paths_in, saved_files, staged


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
        ({"filename_pattern": "[seed_first]-[seed_last]", "number_files": False}, f"{TODAY}/123-124.png"),
        ({"filename_pattern": "[job_timestamp]", "number_files": False}, f"{TODAY}/{time.strftime('%Y%m%d%H%M%S', time.localtime(0))}.png"),
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
