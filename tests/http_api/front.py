"""An API of its own: real store, gallery, settings and styles in a folder, a catalogue of made-up files, and a scripted engine."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from modules.bootstrap import sampler_infos, schedule_infos
from modules.context import AppContext
from modules.domain.catalog import Catalog, CheckpointInfo, UpscalerInfo, VaeInfo
from modules.domain.jobs import Job
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.domain.styles import Style
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.http_api.mount import mount_api
from modules.jobs.executor import InProcessExecutor
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.runs.runs import Runs
from modules.runs.store import RunStore
from modules.settings.defaults import FormDefaults
from modules.settings.flags import Flags
from modules.settings.presets import FormPresets
from modules.settings.store import SettingsStore
from modules.settings.styles import StyleStore
from modules.settings.wildcards import WildcardFolder
from tests.jobs.house import paths_in
from tests.jobs.scripted_runner import Script, build

CATALOG = Catalog(
    checkpoints=(
        CheckpointInfo(name="tiny.safetensors", path="/m/tiny.safetensors", format="safetensors", sha256="ab" * 32),
        CheckpointInfo(name="sub/other.ckpt", path="/m/sub/other.ckpt", format="ckpt"),
    ),
    vaes=(VaeInfo(name="nice.safetensors", path="/v/nice.safetensors"),),
    loras=(LoraInfo(name="ink.safetensors", path="/l/ink.safetensors", alias="inky"),),
    embeddings=(EmbeddingInfo(name="bad.pt", path="/e/bad.pt", word="bad", vectors=2),),
    upscalers=(UpscalerInfo(label="2x_Sharp", path="/u/2x_Sharp.pth"),),
    samplers=sampler_infos(),
    schedules=schedule_infos(),
)


class CountedCatalog:
    """A catalogue that only a test changes, and that knows how often it was told to look again."""

    def __init__(self) -> None:
        self.refreshed = 0
        self.current = CATALOG

    def snapshot(self) -> Catalog:
        return self.current

    def refresh(self) -> Catalog:
        self.refreshed += 1
        return self.current


@dataclass
class Front:
    """What a test holds in its hands."""

    app: FastAPI
    context: AppContext
    catalog: CountedCatalog
    stopped: list[str] = field(default_factory=list)

    def post(self, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        """The JSON that a POST to /sdapi/v1 gives."""
        return self._json(self.client.post(f"/sdapi/v1/{path}", json=body, **more), status)

    def get(self, path: str, status: int = 200) -> Any:
        return self._json(self.client.get(f"/sdapi/v1/{path}"), status)

    @property
    def client(self) -> TestClient:
        return TestClient(self.app, base_url="http://127.0.0.1", raise_server_exceptions=True)

    def draw(self, **body: Any) -> tuple[dict[str, Any], dict[str, Any], Job]:
        """(the answer, its info, the job) of a txt2img."""
        answer = self.post("txt2img", {"prompt": "draw", "steps": 2, **body})
        info = json.loads(answer["info"])
        job = self.context.queue.get(info["job_id"])
        assert job is not None
        return answer, info, job

    @staticmethod
    def _json(reply: httpx.Response, status: int) -> Any:
        assert reply.status_code == status, reply.text[:500]
        return reply.json()


def picture(width: int = 64, height: int = 48, mode: str = "RGB", fmt: str = "PNG") -> str:
    """A picture's file in base64."""
    out = io.BytesIO()
    Image.new(mode, (width, height), "red" if mode == "RGB" else 255).save(out, fmt)
    return base64.b64encode(out.getvalue()).decode()


@contextmanager
def front(folder: Path, *, script: Script | None = None, flags: Flags | None = None, limit: int = 10_000) -> Iterator[Front]:
    paths = paths_in(folder)
    catalog, settings = CountedCatalog(), SettingsStore(paths.config_file)
    store, gallery = JobStore(paths.jobs_db), Gallery(paths)
    executor = InProcessExecutor(lambda: build(script or Script()))
    queue = JobQueue(
        store, executor, catalog, lambda: settings.current, gallery.commit, gallery.saved_indices, paths.staging, inputs=paths.inputs
    )
    inputs, styles = InputStore(paths.inputs), StyleStore(paths.styles_file)
    runs = Runs(RunStore(paths.runs_db), queue, gallery, inputs, catalog, styles.all, paths.staging, WildcardFolder(paths.wildcards).lines)
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
        version="9.9",
    )
    context.styles.save(Style(name="Ink", prompt="ink drawing of {prompt}", negative_prompt="photo"))
    stopped: list[str] = []
    app = mount_api(FastAPI(title="test", version="9.9", docs_url=None), context, flags or Flags(), stop=lambda: stopped.append("stop"))
    queue.start()
    runs.start()
    try:
        yield Front(app, context, catalog, stopped)
    finally:
        runs.close()
        queue.close()
        gallery.close()
        store.close()
