"""What /api/v1/jobs takes and gives: jobs as things with an id, that outlive the connection that made them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from modules.domain.jobs import Job, name_of
from modules.domain.results import SavedImage
from modules.http_api.access import Api
from modules.http_api.extras_routes import ExtrasSingleBody
from modules.http_api.generation import shown_images
from modules.http_api.models import Body, Img2ImgBody, Txt2ImgBody


class JobBody(Body):
    """What is to be done: one of the three, with the fields of /sdapi/v1. `save_images` is true here unless it is given.

    `extras` has the fields of extra-single-image; its result is always kept.
    """

    txt2img: Txt2ImgBody | None = None
    img2img: Img2ImgBody | None = None
    extras: ExtrasSingleBody | None = None


class ImageItem(BaseModel):
    """A finished picture. `url` gives its file."""

    id: str
    url: str
    kind: str = Field(description="image, grid for all side by side, mask or mask_composite.")
    index: int = Field(description="From 0; a grid has -1.")
    width: int
    height: int
    seed: int
    infotext: str


class JobProgress(BaseModel):
    """Where an active job stands."""

    fraction: float
    step: int
    steps: int
    batch: int
    batches: int
    eta_seconds: float | None
    queue_position: int = Field(description="How many jobs come first.")
    text: str


class JobItem(BaseModel):
    """A job and its pictures so far."""

    id: str
    state: str = Field(description="queued, running, done, failed, cancelled, or quarantined: the engine died with it twice.")
    source: str
    prompt: str
    name: str = Field(description="What a job is called that has no prompt: its source's file, or the checkpoint that it makes.")
    created: float
    started: float | None
    finished: float | None
    image_count: int = Field(description="How many pictures were asked for.")
    images: list[ImageItem]
    progress: JobProgress | None = Field(description="Null once the job is over.")
    error: str
    notes: list[str]
    url: str
    events: str = Field(description="Where the job can be watched: server-sent events.")


class JobList(BaseModel):
    """Jobs, the last accepted first; the active ones alone come in the order in which they will be done."""

    jobs: list[JobItem]


def job_item(api: Api, job: Job) -> JobItem:
    """A job as clients see it."""
    images = shown_images(job, api.images(job.id))
    return JobItem(
        id=job.id,
        state=job.state,
        source=job.source,
        prompt=job.request.prompt,
        name=name_of(job.request),
        created=job.created,
        started=job.started,
        finished=job.finished,
        image_count=job.request.image_count,
        images=[image_item(image) for image in images],
        progress=_progress(api, job) if job.active else None,
        error=job.error,
        notes=list(job.notes),
        url=f"/api/v1/jobs/{job.id}",
        events=f"/api/v1/jobs/{job.id}/events",
    )


def image_item(image: SavedImage) -> ImageItem:
    """A picture as clients see it: by id, never by path."""
    return ImageItem(
        id=image.id,
        url=f"/api/v1/images/{image.id}",
        kind=image.kind,
        index=image.index,
        width=image.width,
        height=image.height,
        seed=image.seed,
        infotext=image.infotext,
    )


def _progress(api: Api, job: Job) -> JobProgress:
    now = api.context.queue.progress(job.id)
    return JobProgress(
        fraction=now.fraction,
        step=now.step,
        steps=now.steps,
        batch=now.batch,
        batches=now.batches,
        eta_seconds=now.eta_seconds,
        queue_position=now.queue_position,
        text=now.text,
    )
