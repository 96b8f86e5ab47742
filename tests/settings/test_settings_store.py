"""What a user relies on: a change that was accepted is there after any crash, and nothing that the file held is ever lost."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from modules.domain.errors import InvalidRequest, SettingsConflict, StorageError
from modules.settings.atomic import atomic_write
from modules.settings.defaults import FormDefaults
from modules.settings.schema import Settings, rows
from modules.settings.store import SettingsStore
from modules.settings.values import plain, settings_from_json, settings_to_json, value_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_a_change_is_on_disk_and_only_that(file: Path) -> None:
    store = SettingsStore(file)
    store.update({"jpeg_quality": 91, "quicksettings_list": ["sd_vae"]})
    assert yaml.safe_load(file.read_text()) == {"saving": {"jpeg_quality": 91}, "page": {"quicksettings": ["sd_vae"]}}
    again = SettingsStore(file)
    assert again.current == store.current
    assert again.current.saving.jpeg_quality == 91
    assert again.problems == ()


def test_going_back_to_the_default_leaves_nothing_in_the_file(file: Path) -> None:
    store = SettingsStore(file)
    store.update({"jpeg_quality": 91})
    store.update({"jpeg_quality": Settings().saving.jpeg_quality})
    assert yaml.safe_load(file.read_text()) is None


def test_all_or_nothing(file: Path) -> None:
    store = SettingsStore(file)
    with pytest.raises(InvalidRequest, match="from 1 to 100"):
        store.update({"samples_save": False, "jpeg_quality": 101})
    assert store.current == Settings()
    assert not file.exists()


@pytest.mark.parametrize(
    ("key", "given_value", "kept"),
    [
        ("jpeg_quality", "75", 75),
        ("jpeg_quality", 75.0, 75),
        ("eta_ancestral", 1, 1.0),
        ("eta_ancestral", "0.25", 0.25),
        ("samples_save", "false", False),
        ("samples_save", 1, True),
        ("samples_format", "WEBP", "webp"),
        ("quicksettings_list", "sd_vae, samples_save", ("sd_vae", "samples_save")),
        ("sd_model_checkpoint", "sub/model.safetensors [0123456789]", "sub/model.safetensors [0123456789]"),
        ("samples_filename_pattern", "[seed]-ä☃", "[seed]-ä☃"),
    ],
)
def test_what_json_clients_send_becomes_the_type_of_the_setting(file: Path, key: str, given_value: object, kept: object) -> None:
    store = SettingsStore(file)
    store.update({key: given_value})
    again = SettingsStore(file)
    row = next(row for row in rows() if row.control.key == key)
    assert value_of(again.current, row) == kept
    assert type(value_of(again.current, row)) is type(kept)
    assert again.as_options()[key] == plain(kept)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("jpeg_quality", "many"),
        ("jpeg_quality", True),
        ("jpeg_quality", 80.5),
        ("jpeg_quality", float("inf")),
        ("jpeg_quality", None),
        ("jpeg_quality", 10**400),
        ("eta_ancestral", float("nan")),
        ("samples_save", "perhaps"),
        ("samples_save", [True]),
        ("samples_format", "exe"),
        ("samples_filename_pattern", "a\x00b"),
        ("samples_filename_pattern", "\ud800"),
        ("samples_filename_pattern", "x" * 5000),
        ("samples_filename_pattern", 7),
        ("quicksettings_list", ["no_such_setting"]),
        ("quicksettings_list", 3),
        ("no_such_setting", 1),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(file: Path, key: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=r"\.$"):
        SettingsStore(file).update({key: value})


def test_what_belongs_to_the_host_is_refused_from_the_page(file: Path) -> None:
    store = SettingsStore(file)
    with pytest.raises(InvalidRequest, match="at the machine"):
        store.update({"log_level": "DEBUG"})
    assert store.update({"log_level": "DEBUG"}, host=True).system.log_level == "DEBUG"


def test_the_second_of_two_tabs_is_told(file: Path) -> None:
    store = SettingsStore(file)
    seen = store.version
    store.update({"jpeg_quality": 70}, expected_version=seen)
    with pytest.raises(SettingsConflict, match="Reload"):
        store.update({"jpeg_quality": 60}, expected_version=seen)
    assert store.current.saving.jpeg_quality == 70
    assert store.version == seen + 1


def test_subscribers_hear_of_changes_until_they_leave(file: Path) -> None:
    store, heard = SettingsStore(file), list[int]()
    leave = store.subscribe(lambda settings: heard.append(settings.saving.jpeg_quality))
    store.update({"jpeg_quality": 70})
    store.update({"jpeg_quality": 70})
    leave()
    store.update({"jpeg_quality": 60})
    assert heard == [70]


def test_what_the_file_holds_beside_settings_is_kept_and_reported(file: Path) -> None:
    file.write_text("saving: {jpeg_quality: 999, tomorrow: 1}\nfuture: {x: [1, 2]}\nmodels: {clip_skip: 2}\n")
    store = SettingsStore(file)
    assert store.current.models.clip_skip == 2
    assert store.current.saving.jpeg_quality == 80
    told = " ".join(store.problems)
    assert all(name in told for name in ("saving.jpeg_quality", "saving.tomorrow", "future"))
    store.update({"sd_vae": "None"})
    assert yaml.safe_load(file.read_text()) == {
        "saving": {"jpeg_quality": 999, "tomorrow": 1},
        "future": {"x": [1, 2]},
        "models": {"clip_skip": 2, "vae": "None"},
    }


def test_what_the_host_edits_meanwhile_is_not_undone(file: Path) -> None:
    store = SettingsStore(file)
    store.update({"jpeg_quality": 70})
    file.write_text("models: {clip_skip: 3}\n")
    version = store.version
    store.update({"sd_vae": "None"})
    assert (store.current.models.clip_skip, store.current.models.vae, store.current.saving.jpeg_quality) == (3, "None", 80)
    assert store.version == version + 2


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


def test_a_hundred_threads_see_whole_settings(file: Path) -> None:
    store = SettingsStore(file)

    def change(number: int) -> None:
        store.update({"jpeg_quality": number, "eta_noise_seed_delta": number})

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.version == 32
    for settings in (store.current, SettingsStore(file).current):
        assert settings.saving.jpeg_quality == settings.sampling.noise_seed_delta


def test_a_snapshot_survives_json_and_other_versions() -> None:
    settings = SettingsStore(Path("nowhere") / "config.yaml").current
    assert settings_from_json(settings_to_json(settings)) == settings
    strange = {"saving": {"jpeg_quality": 0, "image_format": "webp", "gone": 1}, "models": 3, "new": {}}
    assert settings_from_json(strange).saving.image_format == "webp"
    assert settings_from_json(strange).saving.jpeg_quality == 80


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@example(values={"": {"\x85": None, "\u2028": "\u2029", "\r": "a\rb\r\nc"}})
@given(values=st.dictionaries(st.text(), _JSON, max_size=6))
def test_any_form_value_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]) -> None:
    file = tmp_path_factory.mktemp("form") / "ui-defaults.yaml"
    defaults = FormDefaults(file)
    defaults.save(values)
    assert dict(FormDefaults(file).values) == values
    defaults.clear()
    assert dict(FormDefaults(file).values) == {}


def test_form_defaults_that_are_no_json_are_refused(tmp_path: Path) -> None:
    defaults = FormDefaults(tmp_path / "ui-defaults.yaml")
    defaults.save({"txt2img_steps": 30})
    for values in ({"x": float("nan")}, {"x": {1, 2}}, {"x": "\ud800"}, {3: 1}, {"x": "y" * 400_000}):
        with pytest.raises(InvalidRequest):
            defaults.save(values)
    assert dict(defaults.values) == {"txt2img_steps": 30}


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


def test_atomic_write_needs_no_earlier_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"
