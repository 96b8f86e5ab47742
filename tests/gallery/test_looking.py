"""Finding a saved picture again: pages of them, small versions, and never what lies elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from modules.domain.errors import ImageUnreadable
from modules.gallery.gallery import Gallery
from modules.settings.paths import Paths
from tests.gallery.pictures import a_job, staged


def test_paging_by_time_meets_every_picture_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    gallery = Gallery(paths)
    for number in range(25):
        job = replace(a_job(f"job{number}"), owner="ann" if number % 2 else "bob")
        gallery.commit(staged(paths, job, seed=number), job)
    for owners, count in ((None, 25), (("ann",), 12), (("bob",), 13), (("ann", "bob"), 25), (("", "ann"), 12)):
        seen: list[str] = []
        before = None
        while page := gallery.recent(4, before, owners):
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
            assert gallery.is_placeholder(gallery.thumbnail(image.id, side)) is (image.id != images[0].id)
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
