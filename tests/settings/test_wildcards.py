"""Files of lines that stand in for a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.domain.errors import InvalidRequest
from modules.settings.wildcards import WildcardFolder


def test_names_patterns_and_comments(tmp_path: Path) -> None:
    (tmp_path / "beasts").mkdir()
    (tmp_path / "beasts" / "Wild.txt").write_text("\ufefffox\n\n# no animal\n wolf \r\n", encoding="utf-8")
    (tmp_path / "beasts" / "tame.txt").write_text("dog", encoding="utf-8")
    (tmp_path / "notes.md").write_text("nothing", encoding="utf-8")
    folder = WildcardFolder(tmp_path)
    with pytest.raises(InvalidRequest, match="There are: beasts/Wild, beasts/tame"):
        folder.lines("notes")
    assert list(folder.lines("beasts/wild")) == ["fox", "wolf"]
    assert sorted(folder.lines("beasts/*")) == ["dog", "fox", "wolf"]
    (tmp_path / "beasts" / "tame.txt").write_text("cat", encoding="utf-8")
    assert list(folder.lines("beasts/tame")) == ["cat"]


def test_what_is_missing_is_named_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing yet", encoding="utf-8")
    folder = WildcardFolder(tmp_path)
    with pytest.raises(InvalidRequest, match=r"__hat__ is not there: put wildcards/hat\.txt there\. There are: empty"):
        folder.lines("hat")
    with pytest.raises(InvalidRequest, match="has no lines"):
        folder.lines("empty")
    with pytest.raises(InvalidRequest, match="is not there"):
        folder.lines("../../etc/passwd")
    with pytest.raises(InvalidRequest, match="There are: none"):
        WildcardFolder(tmp_path / "missing").lines("hat")
