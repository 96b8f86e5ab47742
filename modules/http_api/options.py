"""What do A1111's option keys and values mean here? For a single request's overrides, and for the settings themselves.

Clients send keys that only A1111 knows, and whole option objects back: what does not exist here is told apart from what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modules.domain.catalog import Catalog, CheckpointInfo
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.settings.rows import SettingRow, row_by_key
from modules.settings.schema import Settings
from modules.settings.values import checked_options, coerce, plain, value_of

CHECKPOINT, VAE = "sd_model_checkpoint", "sd_vae"
CHECKPOINT_HASH = "sd_checkpoint_hash"
"""A1111's option that follows from the checkpoint: shown, never set."""

_VAE_CHOICES = ("Automatic", "None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Options for one request, and sentences on those that were left out."""

    options: tuple[tuple[str, str | int | float | bool], ...] = ()
    notes: tuple[str, ...] = ()


def shown_options(settings: Settings, options: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Every option as clients see it: the checkpoint is the title of the one in use, also where none was chosen."""
    info = checkpoint_in_use(settings, catalog)
    title = info.title if info else settings.models.checkpoint
    return {**options, CHECKPOINT: title, CHECKPOINT_HASH: (info.sha256 or "") if info else ""}


def checkpoint_in_use(settings: Settings, catalog: Catalog) -> CheckpointInfo | None:
    """The checkpoint that a job would be done with; None where there is none."""
    return find_checkpoint(settings.models.checkpoint, catalog)


def find_checkpoint(text: str, catalog: Catalog) -> CheckpointInfo | None:
    """The checkpoint called `text`, with or without a hash in brackets; None where there is none, or more than one."""
    without_hash = text.rpartition(" [")[0] if text.endswith("]") else ""
    return _checkpoint(text, catalog) or (_checkpoint(without_hash, catalog) if without_hash else None)


def _checkpoint(text: str, catalog: Catalog) -> CheckpointInfo | None:
    try:
        return catalog.checkpoint(text)
    except ModelNotFound:
        return None


def request_overrides(given: Mapping[str, Any], catalog: Catalog) -> Overrides:
    """The options of a request's `override_settings`.

    A key that is unknown here and a model that is not there are left out with a note, as A1111 leaves them out without one. Raises
    `InvalidRequest` for a value that does not fit.
    """
    options: dict[str, str | int | float | bool] = {}
    notes: list[str] = []
    for key, value in given.items():
        row = known_row(key)
        # An empty checkpoint is a client's field that nobody filled in.
        if value is None or key == CHECKPOINT_HASH or (key == CHECKPOINT and value == ""):
            continue
        if row is None or row.control.host or row.control.multiple:
            notes.append(f"override_settings: {key[:80]!r} is no option for a single request here and was left out.")
            continue
        try:
            options[key] = coerce(row, named_here(key, value, catalog))
        except ModelNotFound as error:
            notes.append(f"override_settings: {error} It was left out.")
    return Overrides(options=tuple(options.items()), notes=tuple(notes))


def setting_changes(given: Mapping[str, Any], settings: Settings, catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """(the options of `given` that would change something, the keys that do not exist here).

    Raises `ModelNotFound`, and `InvalidRequest` for a value that does not fit or may only be set at the machine.
    """
    changes: dict[str, Any] = {}
    unknown: list[str] = []
    for key, value in given.items():
        row = known_row(key)
        if row is None:
            unknown.append(key)
        elif value is not None and not (key == CHECKPOINT and value == "") and not _is_set(row, value, settings, catalog):
            named = named_here(key, value, catalog)
            checked_options({key: named}, host=False)
            changes[key] = named
    return changes, [key for key in unknown if key != CHECKPOINT_HASH]


def known_row(key: str) -> SettingRow | None:
    """The setting with this key, or None."""
    try:
        return row_by_key(key)
    except KeyError:
        return None


def named_here(key: str, value: Any, catalog: Catalog) -> Any:
    """`value`, or the full name of the model that it is the name of. Raises `ModelNotFound`."""
    if key == CHECKPOINT and isinstance(value, str) and value:
        info = find_checkpoint(value, catalog)
        return info.name if info else catalog.checkpoint(value).name
    if key == VAE and isinstance(value, str):
        choice = next((choice for choice in _VAE_CHOICES if choice.casefold() == value.strip().casefold()), None)
        return choice or catalog.vae(value).name
    return value


def _is_set(row: SettingRow, value: Any, settings: Settings, catalog: Catalog) -> bool:
    """Whether `value` is what is set already, so that the whole object can be sent back."""
    if row.control.key == CHECKPOINT and isinstance(value, str):
        info = find_checkpoint(value, catalog)
        return info is not None and info == checkpoint_in_use(settings, catalog)
    try:
        return plain(coerce(row, value)) == plain(value_of(settings, row))
    except InvalidRequest:
        return False
