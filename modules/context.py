"""The one explicit context: built once by `bootstrap.build`, passed to whoever needs it, never reached for."""

from __future__ import annotations

from dataclasses import dataclass

from modules.domain.catalog import CatalogSource
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.jobs.queue import JobQueue
from modules.runs.runs import Runs
from modules.settings.defaults import FormDefaults
from modules.settings.paths import Paths
from modules.settings.presets import FormPresets
from modules.settings.store import SettingsStore
from modules.settings.styles import StyleStore


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    settings: SettingsStore
    defaults: FormDefaults
    presets: FormPresets
    styles: StyleStore
    catalog: CatalogSource
    queue: JobQueue
    runs: Runs
    gallery: Gallery
    inputs: InputStore
    paths: Paths
    version: str
