"""The styles' file: A1111's own is read, edits last, and a file that can't be read is never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.domain.errors import InvalidRequest, StorageError
from modules.domain.styles import Style
from modules.settings.styles import StyleStore

OIL = Style(name="Oil, thick", prompt='{prompt}, oil "painting"\nimpasto', negative_prompt="photo")


def test_what_is_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    store = StyleStore(tmp_path / "styles.csv")
    assert store.all() == ()
    store.save(OIL)
    store.save(Style(name="Zwei"))
    store.save(Style(name="Zwei", prompt="é, 漢字"))
    again = StyleStore(tmp_path / "styles.csv")
    assert again.all() == (OIL, Style(name="Zwei", prompt="é, 漢字"))
    again.delete("Zwei")
    assert store.all() == (OIL,), "an edit made elsewhere is seen"
    with pytest.raises(InvalidRequest, match="Zwei"):
        store.find("Zwei")


def test_a1111s_file_is_read_with_its_mark_and_odd_columns(tmp_path: Path) -> None:
    path = tmp_path / "styles.csv"
    path.write_bytes('\ufeffname,prompt,negative_prompt\r\nNone,,\r\nA,"b, c",d\r\nshort,x\r\n,nameless,\r\n'.encode())
    names = [(style.name, style.prompt, style.negative_prompt) for style in StyleStore(path).all()]
    assert names == [("None", "", ""), ("A", "b, c", "d"), ("short", "x", "")]
    path.write_text("name,text\nold,words\n")
    assert StyleStore(path).find("old").prompt == "words"


def test_line_ends_of_another_system_stay_within_their_style(tmp_path: Path) -> None:
    store = StyleStore(tmp_path / "styles.csv")
    store.save(Style(name="Old Mac", prompt="one\rtwo"))
    store.save(Style(name="Windows", prompt="one\r\ntwo", negative_prompt="\tthree"))
    found = [(style.name, style.prompt, style.negative_prompt) for style in StyleStore(tmp_path / "styles.csv").all()]
    assert found == [("Old Mac", "one\ntwo", ""), ("Windows", "one\ntwo", "\tthree")]


def test_a_file_that_cant_be_read_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "styles.csv"
    path.write_bytes(b"\xff\xfe\x00\x80 not text")
    store = StyleStore(path)
    assert store.all() == () and "styles.csv" in store.problems[0]
    with pytest.raises(StorageError):
        store.save(OIL)
    assert path.read_bytes().startswith(b"\xff\xfe")
    path.unlink()
    store.save(OIL)
    assert store.problems == () and store.all() == (OIL,)


@pytest.mark.parametrize(
    "style",
    [
        Style(name=" "),
        Style(name="a\nb"),
        Style(name="a\rb"),
        Style(name="x", prompt="y" * 30_000),
        Style(name="x", prompt="half of a letter: \ud83d"),
        Style(name="x", negative_prompt="a\0b"),
    ],
    ids=lambda style: ascii(style.name + style.prompt[:20]),
)
def test_what_is_no_style_is_refused(tmp_path: Path, style: Style) -> None:
    with pytest.raises(InvalidRequest):
        StyleStore(tmp_path / "styles.csv").save(style)
