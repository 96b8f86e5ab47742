"""/sdapi/v1/extra-single-image and extra-batch-images: finished pictures enlarged and their faces restored on the queue, in A1111's words.

As there, results are handed over and not kept in the outputs folder. Each picture is a job of its own.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, WithJsonSchema
from starlette.concurrency import run_in_threadpool

from modules.domain.errors import InvalidRequest
from modules.domain.extras import MAX_FACTOR, MAX_NAME, MAX_SIDE, MIN_FACTOR, ExtrasRequest
from modules.domain.jobs import Job
from modules.http_api.access import Api, user_of
from modules.http_api.errors import PROBLEMS, ApiRoute, Refusal
from modules.http_api.generation import checked
from modules.http_api.models import Body, Share, Whole
from modules.http_api.pictures import received
from modules.http_api.waiting import Outcome, waiter
from modules.imaging.files import read_infotext

MAX_IMAGES = 1000

_NOT_SAVED = (("samples_save", False),)

Factor = Annotated[float, WithJsonSchema({"type": "number", "minimum": MIN_FACTOR, "maximum": MAX_FACTOR})]
Pixels = Annotated[Whole, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_SIDE})]
Name = Annotated[str, Field(max_length=1000)]


class ExtrasBody(Body):
    """How pictures are enlarged."""

    resize_mode: Annotated[int, Field(ge=0, le=1)] = Field(
        default=0, description="0 enlarges by upscaling_resize, 1 to upscaling_resize_w and upscaling_resize_h."
    )
    show_extras_results: bool = Field(default=True, description="Accepted: the answer always holds the pictures.")
    gfpgan_visibility: Share = Field(default=0.0, description="How strongly its faces are laid over; needs a file in models/GFPGAN.")
    codeformer_visibility: Share = Field(default=0.0, description="The same; needs a file in models/Codeformer.")
    codeformer_weight: Share = Field(default=0.0, description="CodeFormer's fidelity: 0 the best face, 1 the one most like the source.")
    upscaling_resize: Factor = 2.0
    upscaling_resize_w: Pixels = 512
    upscaling_resize_h: Pixels = 512
    upscaling_crop: bool = Field(default=True, description="Cut off what is over the size, where the picture has another shape.")
    upscaler_1: Name = Field(default="None", description="A name of /sdapi/v1/upscalers. None leaves the picture as it is.")
    upscaler_2: Name = Field(default="None", description="Another one, mixed into what the first makes.")
    extras_upscaler_2_visibility: Share = Field(default=0.0, description="How strongly it is mixed in.")
    upscale_first: bool = Field(default=False, description="Restore faces in the enlarged picture, not before it is enlarged.")


class ExtrasSingleBody(ExtrasBody):
    """One picture to be enlarged."""

    image: str = Field(default="", description="In base64 or as a data: URL. Needed.")


class FileData(Body):
    """A picture's file."""

    data: str = Field(description="In base64 or as a data: URL.")
    name: str


class ExtrasBatchBody(ExtrasBody):
    """Several pictures to be enlarged in the same way."""

    imageList: Annotated[list[FileData], Field(max_length=MAX_IMAGES)]


class ExtrasSingleAnswer(BaseModel):
    """The enlarged picture."""

    html_info: str = Field(description="What was done, as HTML.")
    image: str = Field(description="A complete file in base64; the source's parameters are inside.")


class ExtrasBatchAnswer(BaseModel):
    """The enlarged pictures in the order in which they came."""

    html_info: str = Field(description="What was done, as HTML.")
    images: list[str] = Field(description="Complete files in base64; the sources' parameters are inside.")


def extras_routes(api: Api) -> APIRouter:
    """The two routes that enlarge."""
    router = APIRouter(prefix="/sdapi/v1", tags=["pictures"], route_class=ApiRoute, responses=PROBLEMS)

    @router.post("/extra-single-image")
    async def single(body: ExtrasSingleBody, request: Request) -> ExtrasSingleAnswer:
        """Enlarge a picture, and answer when it is there."""
        asked = await run_in_threadpool(from_single, api, body)
        info, images = await _enlarged(api, [replace(asked, overrides=_NOT_SAVED)], user_of(request))
        return ExtrasSingleAnswer(html_info=info, image=images[0])

    @router.post("/extra-batch-images")
    async def batch(body: ExtrasBatchBody, request: Request) -> ExtrasBatchAnswer:
        """Enlarge pictures, and answer when all are there. Where one of them can't be read, none is begun."""
        asked = await run_in_threadpool(_from_batch, api, body)
        info, images = await _enlarged(api, [replace(each, overrides=_NOT_SAVED) for each in asked], user_of(request))
        return ExtrasBatchAnswer(html_info=info, images=images)

    return router


def from_single(api: Api, body: ExtrasSingleBody) -> ExtrasRequest:
    """What a body asks for; its picture is kept among the inputs. Raises `Refusal` and `InvalidRequest`."""
    if not body.image.strip():
        raise Refusal(404, "Image not found", "extra-single-image needs a picture in image.")
    return _request(api, body, FileData(data=body.image, name=""))


def _from_batch(api: Api, body: ExtrasBatchBody) -> list[ExtrasRequest]:
    if not body.imageList:
        raise Refusal(404, "Image not found", "extra-batch-images needs pictures in imageList.")
    return [_one_of_batch(api, body, number) for number in range(len(body.imageList))]


def _one_of_batch(api: Api, body: ExtrasBatchBody, number: int) -> ExtrasRequest:
    try:
        return _request(api, body, body.imageList[number])
    except (Refusal, InvalidRequest) as error:
        sentence = error.sentence if isinstance(error, Refusal) else str(error)
        raise Refusal(422, f"Picture {number + 1} of {len(body.imageList)}: {sentence}") from error


def _request(api: Api, body: ExtrasBody, file: FileData) -> ExtrasRequest:
    data = received(file.data, api.context.settings.current)
    kept = api.context.inputs.put(data)
    asked = ExtrasRequest(
        image=kept.id,
        name=_bare(file.name),
        infotext=read_infotext(io.BytesIO(data)),
        upscaler_1=body.upscaler_1,
        upscaler_2=body.upscaler_2,
        upscaler_2_visibility=body.extras_upscaler_2_visibility,
        gfpgan_visibility=body.gfpgan_visibility,
        codeformer_visibility=body.codeformer_visibility,
        codeformer_weight=body.codeformer_weight,
        upscale_first=body.upscale_first,
    )
    if body.resize_mode == 1:
        return replace(asked, size=(body.upscaling_resize_w, body.upscaling_resize_h), crop=body.upscaling_crop)
    return replace(asked, resize_by=body.upscaling_resize)


def _bare(name: str) -> str:
    """A client's name for a picture without folders and without what no file's name can hold."""
    readable = name.encode("utf-8", "ignore").decode().replace("\\", "/").replace("\0", "")
    return PurePosixPath(readable).name[:MAX_NAME]


async def _enlarged(api: Api, asked: list[ExtrasRequest], owner: str) -> tuple[str, list[str]]:
    """(what was done as HTML, the files in base64). Raises `JobFailed` for the first that failed, once all are over."""
    with waiter(api.context.queue) as waiting:
        jobs = await run_in_threadpool(_submitted, api, asked, owner)
        # each is read as soon as it is there: what is not saved is kept for a while only
        results = [await run_in_threadpool(_result, api, await waiting.outcome(job.id)) for job in jobs]
    return _answer(results)


def _submitted(api: Api, asked: list[ExtrasRequest], owner: str) -> list[Job]:
    """Their jobs; where one is not accepted (a full queue, a wrong name), none is."""
    jobs: list[Job] = []
    try:
        # what was accepted before one is refused is in the list by then
        jobs.extend(api.context.queue.submit(each, source="api", owner=owner) for each in asked)
    except Exception:
        for job in jobs:
            api.context.queue.interrupt(job.id)
        raise
    return jobs


def _result(api: Api, outcome: Outcome) -> tuple[Outcome, str, tuple[str, ...]]:
    """(the outcome, the file in base64, what was done); of a job without a picture the outcome alone."""
    image = next(iter(api.images(outcome.job.id)), None)
    if image is None:
        return outcome, "", ()
    file = base64.b64encode(api.context.gallery.path(image.id).read_bytes()).decode()
    return outcome, file, (image.infotext, *outcome.job.notes)


def _answer(results: list[tuple[Outcome, str, tuple[str, ...]]]) -> tuple[str, list[str]]:
    files: list[str] = []
    told: list[str] = []
    for outcome, file, lines in results:
        checked(outcome)
        if not file:
            raise Refusal(409, "Interrupted", "The job was interrupted before the picture was done. Send it again.")
        files.append(file)
        told += [line for line in lines if line and line not in told]
    return "".join(f"<p>{html.escape(line)}</p>" for line in told), files
