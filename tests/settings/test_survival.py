"""Whatever happens to the settings' files, an accepted change is there, and nothing that they held is lost."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modules.domain.errors import StorageError
from modules.settings.atomic import atomic_write
from modules.settings.defaults import FormDefaults
from modules.settings.schema import Settings
from modules.settings.store import SettingsStore


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00garbage",
        b"saving: [unclosed",
        b"- a list\n- of things",
        b"just text",
        b"a: &x [1]\nb: *x",
        b"!!python/object/apply:os.system ['true']",
        b"x: !!bool maybe",
        b"x: !!int ''",
        b"x: !!timestamp nonsense",
        b"[" * 100_000,
        b"#" * 300_000,
        b"? {a: b}\n: c",
    ],
)
def test_a_damaged_file_is_kept_beside_and_reported(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    store = SettingsStore(file)
    assert store.current == Settings()
    kept = list(file.parent.glob("config.yaml.corrupt-*"))
    assert [path.read_bytes() for path in kept] == [content]
    assert kept[0].name in store.problems[0]
    store.update({"jpeg_quality": 70})
    assert SettingsStore(file).current.saving.jpeg_quality == 70


def test_200_damaged_files_200_starts(tmp_path: Path) -> None:
    rng = random.Random(1)
    good = tmp_path / "good.yaml"
    SettingsStore(good).update({"jpeg_quality": 70, "sd_vae": "None", "quicksettings_list": ["sd_vae"], "eta_ancestral": 0.5})
    text = good.read_bytes()
    started = 0
    for number in range(200):
        data = bytearray(text)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 4 == 0:
            data = data[: rng.randrange(len(data))]
        folder = tmp_path / str(number)
        folder.mkdir()
        file = folder / "config.yaml"
        file.write_bytes(data)
        store = SettingsStore(file)
        FormDefaults(_copy(file, folder / "ui-defaults.yaml"))
        assert file.exists() or any(path.read_bytes() == data for path in folder.glob("config.yaml.corrupt-*"))
        store.update({"jpeg_quality": 66})
        assert SettingsStore(file).current.saving.jpeg_quality == 66
        started += 1
    assert started == 200


def test_something_that_is_no_file_is_moved_away_too(file: Path) -> None:
    file.mkdir()
    store = SettingsStore(file)
    assert "corrupt" in store.problems[0]
    store.update({"jpeg_quality": 70})
    assert file.is_file()


def test_a_file_that_can_be_neither_read_nor_moved_is_not_written_over(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("models: {clip_skip: 2}\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(Path, "rename", refuse)
        store = SettingsStore(file)
        assert store.problems
        with pytest.raises(StorageError, match="can't be read"):
            store.update({"jpeg_quality": 70})
    assert file.read_text() == "models: {clip_skip: 2}\n"


@pytest.mark.parametrize("name", ["tempfile.mkstemp", "os.fsync", "os.fdopen", "pathlib.Path.replace", "pathlib.Path.chmod"])
def test_every_step_of_saving_may_fail(file: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    store = SettingsStore(file)
    store.update({"jpeg_quality": 70})
    before = file.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(name, fail)
        with pytest.raises(StorageError, match="No space left"):
            store.update({"jpeg_quality": 60})
    assert file.read_bytes() == before
    assert store.current.saving.jpeg_quality == 70
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]
    store.update({"jpeg_quality": 60})
    assert SettingsStore(file).current.saving.jpeg_quality == 60


def test_a_full_disk_changes_nothing(file: Path) -> None:
    store = SettingsStore(file)
    store.update({"jpeg_quality": 70})
    before = file.read_bytes()

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
        try:
            store.update({"samples_filename_pattern": "x" * 500})
        except StorageError:
            os._exit(7 if store.current.saving.filename_pattern == "" else 8)
        os._exit(9)

    assert _fork(child) == 7
    assert file.read_bytes() == before


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("")
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    SettingsStore(link).update({"jpeg_quality": 70})
    assert link.is_symlink()
    assert "70" in real.read_text()


def test_a_private_file_stays_private(file: Path) -> None:
    file.write_text("")
    file.chmod(0o600)
    SettingsStore(file).update({"jpeg_quality": 70})
    assert file.stat().st_mode & 0o777 == 0o600


def test_300_kills_lose_no_acknowledged_change(tmp_path: Path) -> None:
    """One child after the other saves in a tight loop, is killed at a random moment, and everything that it had acknowledged is there."""
    rng = random.Random(2)
    config, form = tmp_path / "config.yaml", tmp_path / "ui-defaults.yaml"
    acknowledged = kills = 0
    for _ in range(300):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _save_for_ever(config, form, writer)
        os.close(writer)
        first = os.read(reader, 1)
        assert first, "the child could not read what the one before had left"
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        data = first
        while chunk := os.read(reader, 65536):
            data += chunk
        os.close(reader)
        last = int(data[: data.rindex(b"\n")].split(b"\n")[-1]) if b"\n" in data else 0
        store, defaults = SettingsStore(config), FormDefaults(form)
        assert store.problems == ()
        assert defaults.problems == ()
        seen = store.current.sampling.noise_seed_delta
        assert seen >= last
        assert int(str(defaults.values.get("n", 0))) >= last
        acknowledged, kills = max(acknowledged, last), kills + 1
    assert kills == 300
    assert acknowledged > 50
    assert not list(tmp_path.glob(".*.tmp"))


def test_atomic_write_needs_no_earlier_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"


def _copy(source: Path, target: Path) -> Path:
    if source.exists():
        target.write_bytes(source.read_bytes())
    return target


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _save_for_ever(config: Path, form: Path, writer: int) -> None:
    try:
        store, defaults = SettingsStore(config), FormDefaults(form)
        number = store.current.sampling.noise_seed_delta
        if store.problems or defaults.problems:
            os._exit(1)
        os.write(writer, b"0\n")
        while True:
            number += 1
            store.update({"eta_noise_seed_delta": number})
            defaults.save({"n": number, "text": "x" * random.randrange(2000)})
            os.write(writer, b"%d\n" % number)
    finally:
        os._exit(1)
