"""What the page hears: jobs as JSON, and their events as a server-sent stream.

One stream a page, open only while there is something to hear (browsers allow six connections to a host). Steps are merged: a slow reader
gets the newest one, never a backlog. Events of other users' jobs are left out.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from fastapi.concurrency import run_in_threadpool

from modules.context import AppContext
from modules.domain.events import (
    TERMINAL,
    EngineStatus,
    ImageSaved,
    JobEvent,
    Queued,
    Stage,
    Started,
    StepDone,
)
from modules.domain.jobs import Job, name_of
from modules.domain.training import TrainRequest
from modules.domain.viewers import Owners, Viewer
from modules.gradio_ui.routes.runs import image_json, run_json, runs_json
from modules.runs.run import RunChanged

KEEP_ALIVE_SECONDS = 15.0
RECENT_JOBS = 8

_TOLD_POSITIONS = 20
"""Of how many waiting jobs the page hears that they moved up."""


def job_json(context: AppContext, job: Job) -> dict[str, Any]:
    """A job with its pictures and, while it is active, its progress."""
    images = sorted(context.gallery.for_job(job.id), key=lambda image: image.index)
    seconds = job.finished - job.started if job.finished and job.started else None
    return {
        "id": job.id,
        "run": context.runs.run_of(job.id),
        "state": job.state,
        "source": job.source,
        "tab": job.request.tab,
        "prompt": job.request.prompt,
        "learns": job.request.folder if isinstance(job.request, TrainRequest) else "",
        "name": name_of(job.request),
        "created": job.created,
        "seconds": seconds,
        "count": job.request.image_count,
        "error": job.error,
        "notes": list(job.notes),
        "images": [image_json(image) for image in images],
        "progress": progress_json(context, job.id),
    }


def jobs_json(context: AppContext, owners: Owners) -> list[dict[str, Any]]:
    """The latest finished jobs of `owners`, oldest first, and the active ones in the order in which they are drawn."""
    active = context.queue.list(owners, active_only=True)
    recent = context.queue.list(owners, limit=RECENT_JOBS)
    order = {job.id: job for job in (*reversed([job for job in recent if not job.active]), *active)}
    return [job_json(context, job) for job in order.values()]


def progress_json(context: AppContext, job_id: str) -> dict[str, Any]:
    """Where a job stands; `preview` is a data URI or None."""
    progress = context.queue.progress(job_id)
    preview = context.queue.preview(job_id)
    return {
        "state": progress.state,
        "step": progress.step,
        "steps": progress.steps,
        "batch": progress.batch,
        "batches": progress.batches,
        "fraction": round(progress.fraction, 4),
        "eta": progress.eta_seconds,
        "text": progress.text,
        "position": progress.queue_position,
        "preview_id": progress.preview_id,
        "loss": progress.loss,
        "preview": "data:image/jpeg;base64," + base64.b64encode(preview).decode() if preview else None,
    }


_Message = JobEvent | EngineStatus | RunChanged


class _Inbox:
    """Collects from the queue's thread, hands over on the event loop; holds at most one unread progress a job."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready = asyncio.Event()
        self._changed: dict[str, None] = {}
        self._messages: list[_Message] = []

    def sink(self, event: _Message) -> None:
        self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: _Message) -> None:
        if isinstance(event, (StepDone, Stage, Queued, Started)):
            self._changed[event.job_id] = None
        else:
            self._messages.append(event)
        self._ready.set()

    async def drain(self) -> tuple[list[str], list[_Message]]:
        """The jobs whose progress changed and the other events since the last call; both empty after a quiet while."""
        try:
            await asyncio.wait_for(self._ready.wait(), KEEP_ALIVE_SECONDS)
        except asyncio.TimeoutError:
            return [], []
        self._ready.clear()
        changed, self._changed = list(self._changed), {}
        messages, self._messages = self._messages, []
        return changed, messages


async def job_stream(context: AppContext, viewer: Viewer) -> AsyncIterator[bytes]:
    """Server-sent events: first everything as it is, then what changes, `idle` and the end when no job or run of the viewer's is left."""
    inbox = _Inbox(asyncio.get_running_loop())
    unsubscribe, leave = context.queue.subscribe(inbox.sink), context.runs.subscribe(inbox.sink)
    try:
        # what is read may wait for the disk, and the loop must not
        yield await run_in_threadpool(_everything, context, viewer, "jobs")
        while await run_in_threadpool(_is_busy, context, viewer):
            changed, messages = await inbox.drain()
            if not changed and not messages:
                yield b": still here\n\n"
            for part in await run_in_threadpool(_parts, context, viewer, changed, messages):
                yield part
        yield await run_in_threadpool(_everything, context, viewer, "idle")
    finally:
        unsubscribe()
        leave()


def engine_json(status: EngineStatus) -> dict[str, str]:
    """How the engine is, for the footer."""
    return {"state": status.state, "text": status.text, "device": status.device}


def _everything(context: AppContext, viewer: Viewer, name: str) -> bytes:
    found = {
        "jobs": jobs_json(context, viewer.owners),
        "runs": runs_json(context, viewer.owners),
        "engine": engine_json(context.queue.engine),
    }
    return _event(name, found)


def _is_busy(context: AppContext, viewer: Viewer) -> bool:
    return context.runs.is_busy(viewer.owners) or bool(context.queue.list(viewer.owners, active_only=True, limit=1))


def _parts(context: AppContext, viewer: Viewer, changed: Iterable[str], messages: Iterable[_Message]) -> list[bytes]:
    return list(_each_part(context, viewer, changed, messages))


def _each_part(context: AppContext, viewer: Viewer, changed: Iterable[str], messages: Iterable[_Message]) -> Iterator[bytes]:
    for message in messages:
        if isinstance(message, EngineStatus):
            yield _event("engine", engine_json(message))
        elif isinstance(message, ImageSaved) and _owns(context, viewer, message.job_id):
            yield _event("image", image_json(message.image, context.runs.run_of(message.job_id)))
        elif isinstance(message, RunChanged):
            if viewer.sees(message.run.owner):
                yield _event("run", run_json(context, message.run, with_images=not message.run.active))
        elif isinstance(message, TERMINAL):
            job = context.queue.get(message.job_id)
            if job is not None and viewer.sees(job.owner):
                yield _event("done", job_json(context, job))
    if any(isinstance(message, TERMINAL) for message in messages):
        waiting = context.queue.list(viewer.owners, active_only=True, limit=_TOLD_POSITIONS)
        changed = dict.fromkeys((*changed, *(job.id for job in waiting if job.state == "queued")))
    for job_id in changed:
        if _owns(context, viewer, job_id):
            yield _event("progress", {"id": job_id, **progress_json(context, job_id)})


def _owns(context: AppContext, viewer: Viewer, job_id: str) -> bool:
    job = context.queue.get(job_id)
    return job is not None and viewer.sees(job.owner)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
