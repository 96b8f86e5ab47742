"""How far is it, and stop: /sdapi/v1/progress, interrupt and skip, and A1111's /internal/progress and pending-tasks.

Each is about the caller's own jobs. `progress` speaks of the one that runs, else of the first that waits.
"""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.domain.viewers import viewer_of
from modules.http_api.access import Api
from modules.http_api.errors import PROBLEMS, ApiRoute
from modules.http_api.models import Body
from modules.jobs.progress import Progress
from modules.runs.run import Run

_BEGUN = 0.01
"""A1111's fraction of a job that has begun."""


class ProgressState(BaseModel):
    """A1111's `shared.state`."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(default=0, description="Batches of the job; 0 when nothing runs or waits.")
    job_timestamp: str = "0"
    job_no: int = Field(default=0, description="Batches that are done.")
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressAnswer(BaseModel):
    """Where the caller's job stands."""

    progress: float = Field(description="0 to 1.")
    eta_relative: float = Field(description="Seconds that are left; 0 while nobody knows.")
    state: ProgressState
    current_image: str | None = Field(default=None, description="The newest preview, a JPEG in base64.")
    textinfo: str | None = None


class TaskBody(Body):
    """A question about a task by its name."""

    id_task: str = Field(max_length=200, description="A request's force_task_id, or the id of a job.")
    id_live_preview: int = Field(default=-1, ge=-1, le=2**31, description="The preview that the client has; it gets newer ones only.")
    live_preview: bool = True


class TaskAnswer(BaseModel):
    """Where a task stands."""

    active: bool
    queued: bool
    completed: bool
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = Field(default=None, description="A data: URL.")
    id_live_preview: int | None = None
    textinfo: str | None = None


class PendingTasks(BaseModel):
    """What waits."""

    size: int
    tasks: list[str]


def progress_routes(api: Api) -> APIRouter:
    """The routes below /sdapi/v1."""
    router = APIRouter(prefix="/sdapi/v1", tags=["progress"], route_class=ApiRoute, responses=PROBLEMS)

    @router.get("/progress")
    def progress(request: Request, skip_current_image: bool = False) -> ProgressAnswer:
        """Where the caller's job stands that runs, else the first that waits."""
        job = api.running(request)
        return _idle() if job is None else _busy(api, job, with_image=not skip_current_image)

    @router.post("/interrupt")
    def interrupt(request: Request) -> dict[str, Any]:
        """End the caller's running job, and the script that it is part of; who waits for it gets the pictures that are done."""
        job = api.running(request)
        if job is not None and (job.state == "running" or api.context.runs.run_of(job.id)):
            api.context.runs.interrupt(job.id)
        elif job is None:
            for run in api.context.runs.list(viewer_of(request.state).owners):
                if run.state == "running":  # between two of its jobs
                    api.context.runs.cancel(run.id)
        return {}

    @router.post("/skip")
    def skip(request: Request) -> None:
        """Leave the batch that is being drawn; the next one goes on."""
        job = api.running(request)
        if job is not None:
            api.context.queue.skip(job.id)

    return router


def task_routes(api: Api) -> APIRouter:
    """The routes below /internal."""
    router = APIRouter(prefix="/internal", tags=["progress"], route_class=ApiRoute, responses=PROBLEMS)

    @router.get("/pending-tasks")
    def pending_tasks(request: Request) -> PendingTasks:
        """The ids of the caller's jobs that wait."""
        jobs = api.context.queue.list(viewer_of(request.state).owners, active_only=True)
        ids = [job.id for job in jobs if job.state == "queued"]
        return PendingTasks(size=len(ids), tasks=ids)

    @router.post("/progress")
    def task_progress(task: TaskBody, request: Request) -> TaskAnswer:
        """Where a task stands; one that nobody knows is neither active, queued nor completed."""
        viewer = viewer_of(request.state)
        named = api.tasks.job_id(viewer.name, task.id_task)
        run = api.context.runs.get(named)
        if run is not None and run.active and viewer.sees(run.owner):
            return _run_task(api, run, task)
        job = run.as_job() if run is not None else api.context.queue.get(named)
        return _task(api, job if job is not None and viewer.sees(job.owner) else None, task)

    return router


def _idle() -> ProgressAnswer:
    return ProgressAnswer(progress=0.0, eta_relative=0.0, state=ProgressState())


def _busy(api: Api, job: Job, *, with_image: bool) -> ProgressAnswer:
    now, request = api.context.queue.progress(job.id), job.request
    batches, steps = (request.batch_count, request.steps) if isinstance(request, GenerationRequest) else (1, 0)
    run = api.context.runs.get(api.context.runs.run_of(job.id))
    whole = api.context.runs.progress(run) if run is not None and run.active else None
    done = whole.done if whole else max(0, now.batch - 1)
    fraction = (whole.done + now.fraction) / max(1, whole.total) if whole else now.fraction
    state = ProgressState(
        job=job.source,
        job_count=max(1, whole.total if whole else now.batches or batches),
        job_timestamp=time.strftime("%Y%m%d%H%M%S", time.localtime(job.started or job.created)),
        job_no=done,
        sampling_step=now.step,
        sampling_steps=now.steps or steps,
    )
    preview = api.context.queue.preview(job.id) if with_image else None
    return ProgressAnswer(
        progress=min(1.0, _BEGUN + fraction) if job.state == "running" else 0.0,
        eta_relative=0.0 if whole else now.eta_seconds or 0.0,
        state=state,
        current_image=base64.b64encode(preview).decode() if preview else None,
        textinfo=_text(now),
    )


def _task(api: Api, job: Job | None, task: TaskBody) -> TaskAnswer:
    if job is None or not job.active:
        return TaskAnswer(active=False, queued=False, completed=job is not None, textinfo=job.error or None if job else "Waiting…")
    now = api.context.queue.progress(job.id)
    is_newer = task.live_preview and now.preview_id > max(0, task.id_live_preview)
    preview = api.context.queue.preview(job.id) if is_newer else None
    return TaskAnswer(
        active=job.state == "running",
        queued=job.state == "queued",
        completed=False,
        progress=now.fraction,
        eta=now.eta_seconds,
        live_preview="data:image/jpeg;base64," + base64.b64encode(preview).decode() if preview else None,
        id_live_preview=now.preview_id if preview else task.id_live_preview,
        textinfo=_text(now),
    )


def _run_task(api: Api, run: Run, task: TaskBody) -> TaskAnswer:
    """A run stands where its current job does, counted among all of its jobs."""
    whole = api.context.runs.progress(run)
    job = api.context.queue.get(whole.job_id) if whole.job_id else None
    if job is None or not job.active:
        fraction = whole.done / max(1, whole.total)
        return TaskAnswer(active=True, queued=False, completed=False, progress=fraction, textinfo=f"{whole.done} of {whole.total}")
    part = _task(api, job, task)
    fraction = (whole.done + (part.progress or 0.0)) / max(1, whole.total)
    return part.model_copy(update={"active": True, "queued": False, "progress": fraction, "eta": None})


def _text(now: Progress) -> str | None:
    if now.state == "queued" and not now.text:
        return f"Waiting; {now.queue_position} before this" if now.queue_position else "Waiting"
    return now.text or None
