"""What a user relies on: what was accepted is set, in the file and nowhere half, and two people hear of each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

from modules.domain.errors import InvalidRequest, SettingsConflict
from modules.settings.schema import Settings
from modules.settings.store import SettingsStore


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
