"""What can an assistant do here over MCP? Its tools: what each takes, and what it gives back as content."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job
from modules.domain.viewers import Viewer
from modules.http_api.access import Api
from modules.http_api.errors import Refusal
from modules.http_api.generation import checked, translated
from modules.http_api.job_models import job_item
from modules.http_api.models import Body, Txt2ImgBody
from modules.http_api.translate import from_txt2img
from modules.http_api.waiting import waiter
from modules.imaging.files import read_infotext

Content = list[dict[str, Any]]


class GenerateImage(BaseModel):
    """Draw a picture from words and wait for it. It is kept in the program's gallery."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(max_length=20_000, description="What the picture shows. (word:1.2) makes a word count more.")
    negative_prompt: str = Field(default="", max_length=20_000, description="What it must not show.")
    width: int = Field(default=512, ge=64, le=2048, multiple_of=8)
    height: int = Field(default=512, ge=64, le=2048, multiple_of=8)
    steps: int = Field(default=20, ge=1, le=150)
    cfg_scale: float = Field(default=7.0, ge=0, le=30, description="How closely the words are followed.")
    seed: int = Field(default=-1, ge=-1, le=2**63 - 1, description="The same seed gives the same picture; -1 draws one.")
    sampler: str = Field(default="DPM++ 2M", description="A name that list_models gives.")
    checkpoint: str = Field(default="", description="A name that list_models gives; empty is the one that is set.")


class UpscaleImage(BaseModel):
    """Enlarge the picture of a job that is done, and wait for it. The result is kept in the program's gallery."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    job_id: str = Field(max_length=100, description="The id that generate_image gave. Of several pictures the first is taken.")
    resize_by: float = Field(default=2.0, ge=1, le=8)
    upscaler: str = Field(default="Lanczos", max_length=1000, description="A name that list_models gives.")


class ListModels(Body):
    """The checkpoints, LoRAs, samplers, upscalers and styles that there are."""


class GetJob(BaseModel):
    """How a job stands, by the id that generate_image gave."""

    model_config = ConfigDict(extra="forbid")

    job_id: str = Field(max_length=100)


@dataclass(frozen=True, slots=True)
class Tool:
    """`arguments` is the model of what it takes; `run` gets one of those, and the user's name."""

    arguments: type[BaseModel]
    run: Callable[[Api, Any, Viewer], Coroutine[Any, Any, Content]]

    def described(self, name: str) -> dict[str, Any]:
        """What tools/list says of it."""
        return {"name": name, "description": self.arguments.__doc__ or "", "inputSchema": self.arguments.model_json_schema()}


async def _generate_image(api: Api, asked: GenerateImage, viewer: Viewer) -> Content:
    overrides = {"sd_model_checkpoint": asked.checkpoint} if asked.checkpoint else {}
    body = Txt2ImgBody.model_validate(
        {
            **asked.model_dump(exclude={"sampler", "checkpoint"}),
            "sampler_name": asked.sampler,
            "override_settings": overrides,
            "save_images": True,
        }
    )
    _, request = await run_in_threadpool(translated, api, body, from_txt2img)
    if request.notes:
        raise Refusal(422, " ".join(request.notes))
    with waiter(api.context.queue) as waiting:
        job = await run_in_threadpool(api.context.queue.submit, request.request, source="mcp", owner=viewer.name)
        outcome = await waiting.outcome(job.id)
    return await run_in_threadpool(_pictures, api, checked(outcome))


def _pictures(api: Api, job: Job) -> Content:
    images = [image for image in api.images(job.id) if image.kind == "image"]
    content: Content = []
    for image in images:
        path = api.context.gallery.path(image.id)
        kind = {".jpg": "jpeg"}.get(path.suffix.lower(), path.suffix.lower().lstrip("."))
        content.append({"type": "image", "data": base64.b64encode(path.read_bytes()).decode(), "mimeType": f"image/{kind}"})
    notes = "".join(f"\n{note}" for note in job.notes)
    text = images[0].infotext if images else "The job was interrupted before a picture was done."
    return [*content, {"type": "text", "text": f"{text}\njob_id: {job.id}{notes}"}]


async def _upscale_image(api: Api, asked: UpscaleImage, viewer: Viewer) -> Content:
    request = await run_in_threadpool(_extras_request, api, asked, viewer)
    with waiter(api.context.queue) as waiting:
        job = await run_in_threadpool(api.context.queue.submit, request, source="mcp", owner=viewer.name)
        outcome = await waiting.outcome(job.id)
    return await run_in_threadpool(_pictures, api, checked(outcome))


def _extras_request(api: Api, asked: UpscaleImage, viewer: Viewer) -> ExtrasRequest:
    job = api.context.queue.get(asked.job_id)
    if job is None or not viewer.sees(job.owner):
        raise Refusal(404, "There is no such job.")
    image = next((image for image in api.images(job.id) if image.kind == "image"), None)
    if image is None:
        raise Refusal(404, "That job has no picture.")
    path = api.context.gallery.path(image.id)
    kept = api.context.inputs.put(path.read_bytes())
    infotext = read_infotext(path)
    return ExtrasRequest(image=kept.id, name=path.name, infotext=infotext, resize_by=asked.resize_by, upscaler_1=asked.upscaler)


async def _list_models(api: Api, asked: ListModels, viewer: Viewer) -> Content:
    del asked, viewer
    catalog = api.context.catalog.snapshot()
    found = {
        "checkpoints": [info.name for info in catalog.checkpoints],
        "loras": [f"<lora:{info.stem}:1>" for info in catalog.loras],
        "samplers": [info.label for info in catalog.samplers],
        "upscalers": list(catalog.extras_upscalers),
        "styles": [style.name for style in await run_in_threadpool(api.context.styles.all)],
    }
    return [{"type": "text", "text": json.dumps(found)}]


async def _get_job(api: Api, asked: GetJob, viewer: Viewer) -> Content:
    job = await run_in_threadpool(api.context.queue.get, asked.job_id)
    if job is None or not viewer.sees(job.owner):
        raise Refusal(404, "There is no such job.")
    return [{"type": "text", "text": (await run_in_threadpool(job_item, api, job)).model_dump_json()}]


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "generate_image": Tool(GenerateImage, _generate_image),
        "upscale_image": Tool(UpscaleImage, _upscale_image),
        "list_models": Tool(ListModels, _list_models),
        "get_job": Tool(GetJob, _get_job),
    }
)
"""By the name that a client calls."""
