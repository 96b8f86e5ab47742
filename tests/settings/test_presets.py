"""Presets come back as they were saved, by name and tab."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.domain.errors import InvalidRequest, StorageError
from modules.settings.presets import FormPresets


def test_presets_are_kept_for_each_tab(tmp_path: Path) -> None:
    file = tmp_path / "presets.yaml"
    presets = FormPresets(file)
    presets.save("txt2img", "Große Bilder: 2", {"txt2img_width": 1024, "txt2img_override_settings": ["Clip skip: 2"]})
    presets.save("txt2img", "draft", {"txt2img_steps": 8})
    presets.save("img2img", "draft", {"img2img_steps": 9})
    presets.save("txt2img", "Große Bilder: 2", {"txt2img_width": 2048})
    again = FormPresets(file)
    assert again.names("txt2img") == ["Große Bilder: 2", "draft"] and again.names("extras") == []
    assert dict(again.find("txt2img", "Große Bilder: 2")) == {"txt2img_width": 2048}
    assert dict(again.find("img2img", "draft")) == {"img2img_steps": 9}
    again.delete("txt2img", "draft")
    assert FormPresets(file).names("txt2img") == ["Große Bilder: 2"] and FormPresets(file).names("img2img") == ["draft"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    presets = FormPresets(tmp_path / "presets.yaml")
    for name, sentence in {"": "Choose a preset first", "gone": "no preset called 'gone'"}.items():
        with pytest.raises(InvalidRequest, match=sentence):
            presets.find("txt2img", name)
        with pytest.raises(InvalidRequest, match=sentence):
            presets.delete("txt2img", name)
    for name in ("", "  ", "two\nlines", "x" * 101, "\ud800"):
        with pytest.raises(InvalidRequest, match="needs a name"):
            presets.save("txt2img", name, {})
    with pytest.raises(InvalidRequest, match="presets are too long"):
        presets.save("txt2img", "much", {"a": "y" * 400_000})
    assert presets.names("txt2img") == [] and not presets.problems


@pytest.mark.parametrize("text", ["txt2img: 5", "txt2img: {draft: 7}", "[", "- a", "txt2img: {draft: {a: !!python/name:os.system }}"])
def test_a_damaged_file_is_kept_and_told_of(tmp_path: Path, text: str) -> None:
    file = tmp_path / "presets.yaml"
    file.write_text(text)
    presets = FormPresets(file)
    assert presets.names("txt2img") == [] and "presets.yaml was damaged" in presets.problems[0]
    presets.save("txt2img", "new", {"a": 1})
    assert any(path.read_text() == text for path in tmp_path.iterdir() if path != file)


def test_a_disk_that_refuses_loses_nothing(tmp_path: Path) -> None:
    presets = FormPresets(tmp_path / "presets.yaml")
    presets.save("txt2img", "kept", {"a": 1})
    (tmp_path / "presets.yaml").unlink()
    (tmp_path / "presets.yaml").mkdir()
    (tmp_path / "presets.yaml" / "in the way").touch()
    with pytest.raises(StorageError, match="presets could not be saved"):
        presets.save("txt2img", "other", {"b": 1})
    assert presets.names("txt2img") == ["kept"]
