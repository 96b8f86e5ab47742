"""How does a client watch one job? Server-sent events: `job` first, then `progress`, `preview` and `image`, and `done` at the end.

A slow reader gets the newest progress, never a backlog.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from modules.domain.events import TERMINAL, EngineStatus, ImageSaved, JobEvent
from modules.domain.results import SavedImage
from modules.http_api.access import Api
from modules.http_api.job_models import image_item, job_item

KEEP_ALIVE_SECONDS = 15.0


class _Inbox:
    """Collects from the queue's thread, hands over on the event loop."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._images: list[SavedImage] = []
        self.over = False

    def hear(self, event: JobEvent | EngineStatus) -> None:
        if not isinstance(event, EngineStatus) and event.job_id == self._job_id:
            self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: JobEvent) -> None:
        if isinstance(event, ImageSaved):
            self._images.append(event.image)
        self.over = self.over or isinstance(event, TERMINAL)
        self._ready.set()

    async def wait(self) -> bool:
        """Whether something happened within a while."""
        try:
            await asyncio.wait_for(self._ready.wait(), KEEP_ALIVE_SECONDS)
        except asyncio.TimeoutError:
            return False
        self._ready.clear()
        return True

    def images(self) -> list[SavedImage]:
        """The pictures that came since the last call."""
        images, self._images = self._images, []
        return images


async def job_events(api: Api, job_id: str) -> AsyncIterator[bytes]:
    """The events of a job until it is over."""
    inbox = _Inbox(job_id)
    unsubscribe = api.context.queue.subscribe(inbox.hear)
    preview_id = 0
    try:
        is_over, item = await run_in_threadpool(_item, api, job_id)
        yield _event("job", item)
        while not (is_over or inbox.over):
            if not await inbox.wait():
                yield b": still here\n\n"
                is_over, _ = await run_in_threadpool(_item, api, job_id)
                continue
            for image in inbox.images():
                yield _event("image", image_item(image).model_dump())
            if not inbox.over:
                _, item = await run_in_threadpool(_item, api, job_id)
                yield _event("progress", item["progress"] or {})
                preview_id, preview = _preview(api, job_id, preview_id)
                if preview:
                    yield _event("preview", {"image": preview})
        for image in inbox.images():
            yield _event("image", image_item(image).model_dump())
        yield _event("done", (await run_in_threadpool(_item, api, job_id))[1])
    finally:
        unsubscribe()


def _item(api: Api, job_id: str) -> tuple[bool, dict[str, Any]]:
    """(whether the job is over, the job as JSON)."""
    job = api.context.queue.get(job_id)
    return (True, {}) if job is None else (not job.active, job_item(api, job).model_dump())


def _preview(api: Api, job_id: str, seen: int) -> tuple[int, str]:
    """(the number of the newest preview, a data: URL of it where it is newer than `seen`)."""
    number, picture = api.context.queue.progress(job_id).preview_id, api.context.queue.preview(job_id)
    if number == seen or picture is None:
        return seen, ""
    return number, "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
