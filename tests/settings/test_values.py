"""Which values a setting takes, from whom, and as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.domain.errors import InvalidRequest
from modules.settings.rows import rows
from modules.settings.store import SettingsStore
from modules.settings.values import plain, settings_from_json, settings_to_json, value_of


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


def test_a_snapshot_survives_json_and_other_versions() -> None:
    settings = SettingsStore(Path("nowhere") / "config.yaml").current
    assert settings_from_json(settings_to_json(settings)) == settings
    strange = {"saving": {"jpeg_quality": 0, "image_format": "webp", "gone": 1}, "models": 3, "new": {}}
    assert settings_from_json(strange).saving.image_format == "webp"
    assert settings_from_json(strange).saving.jpeg_quality == 80
