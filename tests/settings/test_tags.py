"""The tag files that people already have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modules.settings.tags import Tag, TagFolder


def test_the_extensions_files_are_read_most_frequent_first(tmp_path: Path) -> None:
    (tmp_path / "danbooru.csv").write_text('\ufefflong_hair,0,4350743,"/lh,longhair"\n1girl,0,6008644,"1girls,sole_female"\n\nsolo,0,,\n')
    (tmp_path / "mine.txt").write_text("# a list of my own\noil on canvas\n")
    assert list(TagFolder(tmp_path).all()) == [
        Tag("1girl", 6008644, ("1girls", "sole_female")),
        Tag("long_hair", 4350743, ("/lh", "longhair")),
        Tag("solo"),
        Tag("oil on canvas"),
    ]


def test_an_edit_counts_at_once_and_nothing_is_read_twice(tmp_path: Path) -> None:
    folder = TagFolder(tmp_path / "tags")
    assert not folder.all()
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags" / "a.txt").write_text("one")
    first = folder.all()
    assert [tag.name for tag in first] == ["one"]
    assert folder.all() is first
    (tmp_path / "tags" / "a.txt").write_text("one\ntwo")
    assert [tag.name for tag in folder.all()] == ["one", "two"]


def test_a_damaged_line_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_bytes(b'first,0,3,""\n"never closed,0,1\n' + b"x" * 200_000 + b"\n\xff\xfe,0,2\n,,\nlast,0,1,\0\n")
    names = [tag.name for tag in TagFolder(tmp_path).all()]
    assert names[0] == "first" and "last" in names
    assert "a.csv" in caplog.text
    if os.geteuid():
        (tmp_path / "a.csv").chmod(0)
        assert not TagFolder(tmp_path).all()
