"""The only wiring place: who gets which part. Nothing else builds the context, and nothing here does any work itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modules.context import AppContext
from modules.domain.catalog import SamplerInfo, ScheduleInfo
from modules.domain.errors import CannotStart
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.jobs.executor import ChildProcessExecutor
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.runs.runs import Runs
from modules.runs.store import RunStore
from modules.sampling.registry import SAMPLERS, SCHEDULES
from modules.settings.defaults import FormDefaults
from modules.settings.paths import Paths
from modules.settings.presets import FormPresets
from modules.settings.store import SettingsStore
from modules.settings.styles import StyleStore
from modules.settings.wildcards import WildcardFolder
from modules.weights.hashes import HashCache
from modules.weights.residency import DeviceOptions
from modules.weights.scan import ModelCatalog

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from modules.server.guard import Guard
    from modules.settings.flags import Flags

VERSION = "0.1.0"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What runs beside the page: started once, closed once, in reverse."""

    starts: tuple[Callable[[], Any], ...]
    closes: tuple[Callable[[], Any], ...]

    def start(self) -> None:
        for start in self.starts:
            start()

    def close(self) -> None:
        for close in self.closes:
            _attempt(close)


def _attempt(close: Callable[[], Any]) -> None:
    try:
        close()
    except Exception:
        # One part that can't end must not keep the others, the engine's process above all, from ending.
        log.exception("A part of the program did not end cleanly")


def _make_folders(paths: Paths) -> None:
    """The program's own, and the first of each kind of models."""
    kinds = (paths.checkpoints, paths.vaes, paths.loras, paths.upscalers, paths.preview_decoders, paths.gfpgan, paths.codeformer)
    ours = (paths.state, paths.outputs, paths.staging, paths.temporary, paths.inputs, paths.embeddings)
    for folder in (*ours, *(folders[0] for folders in kinds if folders)):
        _make(folder)


def build(flags: Flags, paths: Paths) -> tuple[AppContext, Services]:
    """The web process' side of the house; nothing has started yet. Raises `CannotStart` and `StorageError`."""
    from modules.engine.config import EngineConfig

    _make_folders(paths)
    settings = SettingsStore(paths.config_file)
    hashes = HashCache(paths.hashes_db)
    catalog = ModelCatalog(paths, hashes, sampler_infos(), schedule_infos())
    catalog.refresh()
    gallery = Gallery(paths)
    config = EngineConfig(
        paths=paths,
        device=DeviceOptions(**flags.device_options),
        log_level=flags.loglevel or settings.current.system.log_level,
        preload=settings.current.models.checkpoint,
        version=VERSION,
    )
    executor = ChildProcessExecutor("modules.engine.build:build_runner", config)
    jobs = JobStore(paths.jobs_db)
    queue = JobQueue(
        jobs,
        executor,
        catalog=catalog,
        settings=lambda: settings.current,
        commit_image=gallery.commit,
        saved_indices=gallery.saved_indices,
        staging=paths.staging,
        inputs=paths.inputs,
    )
    stored_runs = RunStore(paths.runs_db)
    inputs = InputStore(paths.inputs, in_use=lambda: queue.inputs() | stored_runs.inputs())
    styles = StyleStore(paths.styles_file)
    runs = Runs(stored_runs, queue, gallery, inputs, catalog, styles.all, paths.staging, WildcardFolder(paths.wildcards).lines)
    context = AppContext(
        settings=settings,
        defaults=FormDefaults(paths.defaults_file),
        presets=FormPresets(paths.presets_file),
        styles=styles,
        catalog=catalog,
        queue=queue,
        runs=runs,
        gallery=gallery,
        inputs=inputs,
        paths=paths,
        version=VERSION,
    )
    services = Services(
        starts=(queue.start, runs.start, catalog.start),
        closes=(runs.close, queue.close, jobs.close, catalog.close, gallery.close, hashes.close),
    )
    return context, services


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        told = f"The folder {folder} can't be made ({error.strerror}). Allow writing there, or name another place: see --data-dir."
        raise CannotStart(told) from error


def sampler_infos() -> tuple[SamplerInfo, ...]:
    """The sampler rows as the catalogue shows them."""
    return tuple(
        SamplerInfo(id=row.id, label=row.label, aliases=row.aliases, automatic_schedule=row.automatic_schedule) for row in SAMPLERS.values()
    )


def schedule_infos() -> tuple[ScheduleInfo, ...]:
    """The schedule rows as the catalogue shows them."""
    return tuple(ScheduleInfo(id=row.id, label=row.label, aliases=row.aliases) for row in SCHEDULES.values())


def web_app(context: AppContext, flags: Flags) -> FastAPI:
    """API, page and routes, without the guard. Imports gradio where there is a page: call `gradio_ui.quick_import.import_gradio` first."""
    from fastapi import FastAPI

    from modules.http_api.mount import mount_api, mount_doorstep

    app = mount_api(FastAPI(title="diffusion-webui", version=context.version, docs_url=None, redoc_url=None), context, flags)
    if flags.nowebui:
        return mount_doorstep(app)
    from modules.gradio_ui.mount import mount_page
    from modules.gradio_ui.ui import build as build_page

    return mount_page(app, build_page(context), context, theme=flags.theme)


def share_in_background(guarded: Guard, app: FastAPI, host: str, port: int) -> None:
    """Ask for the public link without keeping the page waiting; print it and let the page show it, or say why there is none.

    `host` and `port` are what the server listens at.
    """
    from modules.server.share import open_tunnel

    def ask() -> None:
        address = open_tunnel(port, host=host, say=lambda text: log.info("%s", text))
        if address:
            guarded.allow_host(address.split("://", 1)[-1].rstrip("/"))
            app.state.share_url = address
            log.info("Public link: %s", address)

    threading.Thread(target=ask, name="share", daemon=True).start()
