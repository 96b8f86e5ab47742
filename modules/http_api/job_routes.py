"""/api/v1/jobs: submit, list, watch, cancel, fetch by id. What was accepted is kept, whatever becomes of the connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job, JobRequest
from modules.domain.requests import GenerationRequest
from modules.domain.viewers import viewer_of
from modules.http_api.access import Api, user_of
from modules.http_api.errors import PROBLEMS, ApiRoute, Refusal
from modules.http_api.extras_routes import from_single
from modules.http_api.generation import Translate, checked, img2img_translation, shown_images, translated
from modules.http_api.job_events import job_events
from modules.http_api.job_models import JobBody, JobItem, JobList, job_item
from modules.http_api.models import GenerationBody
from modules.http_api.selectable import chosen_script
from modules.http_api.translate import Translated, from_txt2img
from modules.http_api.waiting import waiter

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}
_PICTURE = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
_FILE_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable", "Content-Security-Policy": "sandbox; default-src 'none'"}
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Key = Annotated[str | None, Header(max_length=200, description="The same key again gives the same job: a retry draws nothing twice.")]
Accept = Annotated[str, Header(description="image/png waits for the job and gives its first picture itself.")]

_Body = TypeVar("_Body", bound=GenerationBody)


def job_routes(api: Api) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(prefix="/api/v1", tags=["jobs"], route_class=ApiRoute, responses=PROBLEMS)
    _submitting(router, api)
    _looking(router, api)
    _pictures(router, api)
    return router


def _submitting(router: APIRouter, api: Api) -> None:
    @router.post("/jobs", status_code=202, response_model=JobItem, responses={200: {"description": "The picture.", "content": _PICTURE}})
    async def submit(body: JobBody, request: Request, idempotency_key: Key = None, accept: Accept = "") -> Response:
        """Put a job into the queue. It is on the disk when this answers."""
        owner = user_of(request)
        with waiter(api.context.queue) as waiting:
            job = await run_in_threadpool(_submitted, api, body, owner, idempotency_key)
            if not _wants_picture(accept):
                return await run_in_threadpool(_accepted, api, job)
            outcome = await waiting.outcome(job.id)
        return await run_in_threadpool(_picture, api, checked(outcome))

    @router.post("/jobs/{job_id}/cancel")
    def cancel(job_id: str, request: Request) -> JobItem:
        """End a job: at once when it waits, within a step when it runs. Pictures that are done stay."""
        job = api.job(job_id, request)
        api.context.queue.interrupt(job.id)
        return job_item(api, api.job(job_id, request))


def _looking(router: APIRouter, api: Api) -> None:
    @router.get("/jobs")
    def jobs(request: Request, active: bool = False, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> JobList:
        """The caller's jobs."""
        found = api.context.queue.list(viewer_of(request.state).owners, limit=limit, active_only=active)
        return JobList(jobs=[job_item(api, job) for job in found])

    @router.get("/jobs/{job_id}", response_model=JobItem, responses={200: {"content": _PICTURE}})
    async def job(job_id: str, request: Request, accept: Accept = "") -> Response:
        """A job and its pictures."""
        found = await run_in_threadpool(api.job, job_id, request)
        if not _wants_picture(accept):
            return JSONResponse((await run_in_threadpool(job_item, api, found)).model_dump())
        with waiter(api.context.queue) as waiting:
            outcome = await waiting.outcome(found.id)
        return await run_in_threadpool(_picture, api, checked(outcome))

    @router.get("/jobs/{job_id}/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def events(job_id: str, request: Request) -> StreamingResponse:
        """Watch a job: server-sent events `job`, `progress`, `preview`, `image`, and `done` at the end."""
        found = await run_in_threadpool(api.job, job_id, request)
        return StreamingResponse(job_events(api, found.id), media_type="text/event-stream", headers=_STREAM_HEADERS)


def _pictures(router: APIRouter, api: Api) -> None:
    @router.get("/images/{image_id}", response_class=FileResponse, responses={200: {"content": _PICTURE}})
    def image(image_id: str, request: Request) -> Response:
        """A picture's file, as it was saved."""
        return _file(api, api.image(image_id, request).id)


def _submitted(api: Api, body: JobBody, owner: str, key: str | None) -> Job:
    asked = _request(api, body)
    job = api.context.queue.submit(asked, source="api", owner=owner, idempotency_key=key)
    if key is not None and not _is_same(asked, job.request):
        raise Refusal(422, "This Idempotency-Key belongs to another request.", f"Its job is {job.id}. Use a new key for a new request.")
    return job


def _request(api: Api, body: JobBody) -> JobRequest:
    if sum(part is not None for part in (body.txt2img, body.img2img, body.extras)) == 1:
        if body.txt2img is not None:
            return _asked(api, body.txt2img, from_txt2img).request
        if body.img2img is not None:
            return _asked(api, body.img2img, img2img_translation(api)).request
        if body.extras is not None:
            return from_single(api, body.extras)
    raise Refusal(422, 'A job is {"txt2img": {…}}, {"img2img": {…}} or {"extras": {…}}.')


def _asked(api: Api, body: _Body, translate: Translate[_Body]) -> Translated:
    """What a job's body asks for: its pictures are kept unless it says otherwise, since they are fetched later."""
    if chosen_script(body) is not None:
        sentence = "Send requests with a script to /sdapi/v1/txt2img or img2img; its jobs are then in this list too."
        raise Refusal(422, "A job is one request", sentence)
    keep = body if "save_images" in body.model_fields_set else body.model_copy(update={"save_images": True})
    return translated(api, keep, translate)[1]


def _is_same(asked: JobRequest, kept: JobRequest) -> bool:
    """Whether an accepted request is this one, with what it left open filled in."""
    if isinstance(asked, ExtrasRequest) and isinstance(kept, ExtrasRequest):
        return replace(asked, upscaler_1=kept.upscaler_1, upscaler_2=kept.upscaler_2) == kept
    if isinstance(asked, GenerationRequest) and isinstance(kept, GenerationRequest):
        return replace(asked, checkpoint=kept.checkpoint, vae=kept.vae, clip_skip=kept.clip_skip) == kept
    return False


def _accepted(api: Api, job: Job) -> Response:
    return JSONResponse(job_item(api, job).model_dump(), status_code=202, headers={"Location": f"/api/v1/jobs/{job.id}"})


def _wants_picture(accept: str) -> bool:
    return accept.split(",")[0].split(";")[0].strip().lower().startswith("image/")


def _picture(api: Api, job: Job) -> Response:
    """The first picture of a job that is over."""
    image = next((image for image in shown_images(job, api.images(job.id)) if image.kind == "image"), None)
    if image is None:
        raise HTTPException(404, "The job ended without a picture.")
    return _file(api, image.id)


def _file(api: Api, image_id: str) -> Response:
    path = api.context.gallery.path(image_id)
    kind = TYPES.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise HTTPException(404, "The picture's file is gone.")
    return FileResponse(path, media_type=kind, headers=_FILE_HEADERS, filename=path.name, content_disposition_type="inline")
