"""/sdapi/v1/txt2img and img2img: from the body through the queue to the pictures. The event loop only waits; threads do the rest."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from modules.domain.jobs import Job
from modules.domain.results import UNFINISHED, SavedImage
from modules.gallery.inputs import StoredInput
from modules.http_api.access import Api, user_of
from modules.http_api.errors import PROBLEMS, ApiRoute, JobFailed
from modules.http_api.info import generation_info
from modules.http_api.models import GenerationAnswer, GenerationBody, Img2ImgBody, Txt2ImgBody
from modules.http_api.pictures import received
from modules.http_api.selectable import chosen_script, script_values, tab_of
from modules.http_api.translate import Sources, Translated, completed, from_txt2img
from modules.http_api.translate_img2img import from_img2img
from modules.http_api.waiting import Outcome, run_waiter, waiter
from modules.imaging.masks import mask_of
from modules.runs.run import Run
from modules.scripts.script import Script
from modules.settings.schema import Settings

_Body = TypeVar("_Body", bound=GenerationBody)
Translate = Callable[[_Body, Sources], Translated]

_PICTURES = ("init_images", "mask")


def generation_routes(api: Api) -> APIRouter:
    """The two routes that draw."""
    router = APIRouter(prefix="/sdapi/v1", tags=["pictures"], route_class=ApiRoute, responses=PROBLEMS)

    @router.post("/txt2img", response_model=GenerationAnswer)
    async def txt2img(body: Txt2ImgBody, request: Request) -> Response:
        """Draw pictures from words, and answer when they are there."""
        return await _drawn(api, body, from_txt2img, user_of(request))

    @router.post("/img2img", response_model=GenerationAnswer)
    async def img2img(body: Img2ImgBody, request: Request) -> Response:
        """Draw pictures that begin from one, all of it or only where a mask is white, and answer when they are there."""
        return await _drawn(api, body, img2img_translation(api), user_of(request))

    return router


def img2img_translation(api: Api) -> Translate[Img2ImgBody]:
    """`from_img2img` with the place where pictures are kept."""

    def keep(text: str) -> StoredInput:
        return api.context.inputs.put(received(text, api.context.settings.current))

    def keep_grey(text: str) -> StoredInput:
        inputs = api.context.inputs
        return inputs.put_picture(mask_of(inputs.open(keep(text).id), rounded=False).convert("RGB"))

    return lambda body, sources: from_img2img(body, sources, keep, keep_grey)


def translated(api: Api, body: _Body, translate: Translate[_Body]) -> tuple[_Body, Translated]:
    """(the body with infotext and scripts worked in, what it asks for)."""
    context = api.context
    settings = context.settings.current
    sources = Sources(catalog=context.catalog.snapshot(), settings=settings, styles=context.styles.all())
    whole = completed(body, settings)
    return whole, translate(whole, sources)


async def _drawn(api: Api, body: _Body, translate: Translate[_Body], owner: str) -> Response:
    whole, asked = await run_in_threadpool(translated, api, body, translate)
    script = chosen_script(whole)
    if script is not None:
        return await _played(api, whole, asked, script, owner)
    with waiter(api.context.queue) as waiting:
        job = await run_in_threadpool(api.context.queue.submit, asked.request, source="api", owner=owner)
        if whole.force_task_id:
            api.tasks.put(owner, whole.force_task_id, job.id)
        outcome = await waiting.outcome(job.id)
    return await run_in_threadpool(_answer, api, outcome, whole, asked)


async def _played(api: Api, body: GenerationBody, asked: Translated, script: Script, owner: str) -> Response:
    """The answer to a request with a script: all that the run shows, its grid first."""
    runs, values = api.context.runs, script_values(body, script)
    with run_waiter(runs) as waiting:
        run = await run_in_threadpool(runs.submit, script.name, tab_of(body), asked.request, values, owner=owner, source="api")
        if body.force_task_id:
            api.tasks.put(owner, body.force_task_id, run.id)
        run = await waiting.over(run.id)
    return await run_in_threadpool(_run_answer, api, run, body, asked)


def _run_answer(api: Api, run: Run, body: GenerationBody, asked: Translated) -> Response:
    if run.state == "failed":
        raise JobFailed("JobFailed", run.error or "The script failed.")
    return _said(api, run.as_job(), api.context.runs.images(run), body, asked)


def _answer(api: Api, outcome: Outcome, body: GenerationBody, asked: Translated) -> Response:
    """A1111's answer; a job that was interrupted gives what it has. Raises `JobFailed`."""
    job = checked(outcome)
    return _said(api, job, shown_images(job, api.images(job.id)), body, asked)


def _said(api: Api, job: Job, images: Sequence[SavedImage], body: GenerationBody, asked: Translated) -> Response:
    info = generation_info(
        job,
        images,
        api.context.catalog.snapshot(),
        denoising_strength=body.denoising_strength,
        version=api.context.version,
        styles=asked.styles,
        notes=asked.notes,
    )
    files = [base64.b64encode(api.context.gallery.path(image.id).read_bytes()).decode() for image in images] if body.send_images else []
    answer = GenerationAnswer(images=files, parameters=_echo(body), info=json.dumps(info))
    return Response(json.dumps(answer.model_dump()), media_type="application/json")


def checked(outcome: Outcome) -> Job:
    """The job, unless it failed. Raises `JobFailed`."""
    job = outcome.job
    if job.state in ("failed", "quarantined"):
        raise JobFailed(outcome.kind or "JobFailed", job.error or "The job failed.")
    return job


def shown_images(job: Job, images: Sequence[SavedImage]) -> list[SavedImage]:
    """Those that belong into an answer: the pictures, and what the settings show beside them."""
    settings: Settings = job.settings
    shown = {
        "image": True,
        UNFINISHED: True,
        "grid": settings.saving.show_grid,
        "mask": settings.img2img.return_mask,
        "mask_composite": settings.img2img.return_mask_composite,
    }
    return [image for image in images if shown.get(image.kind, False)]


def _echo(body: GenerationBody) -> dict[str, Any]:
    """Every field of the request, as JSON can say it; pictures only where they were asked for."""
    fields = body.model_dump()
    if not fields.get("include_init_images", True):
        fields |= dict.fromkeys(_PICTURES)
    return cast("dict[str, Any]", _plain(fields))


def _plain(value: Any) -> Any:
    """`value` without what JSON has no word for: NaN and the infinities, which Python's reader lets in, become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
