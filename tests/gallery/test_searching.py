"""Finding pictures by their words, keeping favourites, and deleting for good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modules.domain.errors import ImageUnreadable
from modules.gallery.gallery import Gallery
from modules.settings.paths import Paths
from tests.gallery.pictures import a_job, saved_files, staged

TEXTS = (
    "a red fox, Schnee\nNegative prompt: a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Model: starter",
    "a blue house\nSteps: 20, Sampler: DPM++ 2M, Seed: 2, Model: starter",
    "foxes_and cats on snow\nSteps: 9, Sampler: Euler, Seed: 3, Model: other",
    "Negative prompt: ugly\nSteps: 9, Seed: 4, Model: Übermodell",
)


def filled(paths: Paths, owner: str = "") -> Gallery:
    gallery = Gallery(paths)
    for number, text in enumerate(TEXTS, start=1):
        add(gallery, paths, number, text, owner)
    return gallery


def add(gallery: Gallery, paths: Paths, number: int, text: str, owner: str = "") -> str:
    job = replace(a_job(f"job{owner}{number}"), owner=owner)
    return gallery.commit(replace(staged(paths, job, seed=number), infotext=text), job).id


def seeds(gallery: Gallery, words: str, owner: str | None = None, *, favourites: bool = False) -> list[int]:
    return [image.seed for image in gallery.recent(50, None, None if owner is None else (owner,), words=words, favourites=favourites)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("fox", [3, 1]),
        ("FOX red", [1]),
        ("cat", [3]),
        ("sn", [3]),
        ("schnee", [1]),
        ("euler", [3, 1]),
        ("dpm++ 2m", [2]),
        ("starter house", [2]),
        ("ubermodell", [4]),
        ("über", [4]),
        ("ugly", []),
        ('"; DROP TABLE images; --', []),
        ('fox" OR "house', []),
        ("  ", [4, 3, 2, 1]),
        ("*", [4, 3, 2, 1]),
    ],
)
def test_words_find_prompts_and_parameters_but_no_negative_prompts(paths: Paths, words: str, found: list[int]) -> None:
    assert seeds(filled(paths), words) == found


def test_new_pictures_are_found_at_once_and_deleted_ones_no_more(paths: Paths) -> None:
    gallery = filled(paths)
    assert seeds(gallery, "fox") == [3, 1]
    new = add(gallery, paths, 5, "one more fox\nSteps: 1")
    assert seeds(gallery, "fox") == [5, 3, 1]
    gallery.set_favourite(new, True)
    file = gallery.path(new)
    gallery.thumbnail(new, 256)
    gallery.delete(new)
    assert seeds(gallery, "fox") == [3, 1]
    assert seeds(gallery, "", favourites=True) == []
    assert not file.exists()
    assert gallery.get(new) is None
    assert not list(paths.thumbnails.rglob(f"{new}*"))
    assert len(saved_files(paths)) == len(TEXTS)
    with pytest.raises(ImageUnreadable):
        gallery.path(new)
    gallery.delete(new)


def test_a_picture_whose_file_is_gone_can_be_deleted(paths: Paths) -> None:
    gallery = filled(paths)
    gone = gallery.recent(1)[0].id
    gallery.path(gone).unlink()
    gallery.delete(gone)
    assert seeds(gallery, "") == [3, 2, 1]


def test_favourites_are_remembered_and_searched(paths: Paths) -> None:
    gallery = filled(paths)
    first = gallery.recent(50, words="red fox")[0]
    assert not first.favourite
    for _ in range(2):
        gallery.set_favourite(first.id, True)
    gallery.close()
    gallery = Gallery(paths)
    assert seeds(gallery, "", favourites=True) == seeds(gallery, "fox", favourites=True) == [1]
    assert [image.favourite for image in gallery.recent(50, words="fox")] == [False, True]
    found = gallery.get(first.id)
    assert found is not None
    assert found.favourite
    gallery.set_favourite(first.id, False)
    assert seeds(gallery, "", favourites=True) == []


def test_what_is_found_is_paged_and_belongs_to_who_asks(paths: Paths) -> None:
    gallery = Gallery(paths)
    for number in range(1, 31):
        add(gallery, paths, number, f"fox {number}\nSteps: 1", "ann" if number % 3 else "bob")
    seen: list[int] = []
    before = None
    while page := gallery.recent(7, before, ("ann",), words="fox"):
        seen += [image.seed for image in page]
        before = page[-1].created
    assert seen == [number for number in range(30, 0, -1) if number % 3]
    assert seeds(gallery, "fox", "bob") == list(range(30, 0, -3))


def test_pictures_of_a_clock_that_was_ahead_hide_no_others(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, clock = Gallery(paths), [9_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    add(gallery, paths, 1, "fox one\nSteps: 1")
    clock[0] = 1_000.0
    add(gallery, paths, 2, "fox two\nSteps: 1")
    assert sorted(seeds(gallery, "fox")) == sorted(seeds(gallery, "")) == [1, 2]


def test_what_is_not_saved_goes_in_time_but_favourites_and_what_is_in_use_stay(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.gallery.gallery.UNSAVED_KEPT", 5)
    gallery = Gallery(paths)
    gallery.spare(lambda: frozenset({"job1", "job2"}))
    ids = []
    for number in range(1, 21):
        job = a_job(f"job{number}", save_images=False)
        ids.append(gallery.commit(staged(paths, job, seed=number), job).id)
        if number == 3:
            gallery.set_favourite(ids[-1], True)
    left = [number for number, image_id in enumerate(ids, start=1) if gallery.get(image_id)]
    # the favourite does not count, and neither does the job that has just been saved
    assert left == [1, 2, 3, *range(15, 21)]
    assert all(gallery.path(ids[number - 1]).is_file() for number in left)


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_what_is_searched_in_is_made_anew(paths: Paths, harm: str) -> None:
    gallery = filled(paths)
    assert seeds(gallery, "house") == [2]
    gallery.close()
    if harm == "gone":
        without(paths.words_db)
    else:
        paths.words_db.write_bytes(b"no database at all" * 500)
    gallery = Gallery(paths)
    assert seeds(gallery, "house") == [2]
    assert not gallery.problems


def test_what_was_searched_in_for_another_gallery_is_forgotten(paths: Paths) -> None:
    gallery = filled(paths)
    assert seeds(gallery, "house") == [2]
    gallery.close()
    without(paths.gallery_db)
    gallery = Gallery(paths)
    add(gallery, paths, 9, "another house\nSteps: 1")
    assert seeds(gallery, "house") == [9]
    assert seeds(gallery, "fox") == []


def without(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
