"""What is about a picture but draws none: png-info. And A1111's routes for what this program does not have, which say so."""

from __future__ import annotations

import io
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from modules.http_api.access import Api
from modules.http_api.errors import PROBLEMS, ApiRoute, Refusal
from modules.http_api.models import Body, Problem
from modules.http_api.pictures import received
from modules.imaging.files import read_infotext
from modules.imaging.infotext import parse_infotext

_MISSING: dict[int | str, dict[str, Any]] = {
    **PROBLEMS,
    501: {"model": Problem, "description": "This program does not have that; the answer says what to use instead."},
}
_INTERROGATE = "There is no captioning model in this program yet."
_TRAINING = "Training is on the page, in the tab Train; over the API there is none in this program yet."
_INTERROGATORS = ("clip", "deepdanbooru", "deepbooru")


class PngInfoBody(Body):
    """A picture."""

    image: str = Field(description="In base64 or as a data: URL.")


class PngInfoAnswer(BaseModel):
    """What is written in a picture."""

    info: str = Field(description="The parameters as text; empty where there are none.")
    items: dict[str, Any] = Field(description="The same by the name that it has in a PNG file.")
    parameters: dict[str, Any] = Field(description="The fields of the text; sizes are Size-1 and Size-2.")


class InterrogateBody(Body):
    """A picture to be described."""

    image: str = ""
    model: str = "clip"


def tool_routes(api: Api) -> APIRouter:
    """The routes below /sdapi/v1."""
    router = APIRouter(prefix="/sdapi/v1", tags=["tools"], route_class=ApiRoute, responses=PROBLEMS)

    @router.post("/png-info")
    def png_info(body: PngInfoBody) -> PngInfoAnswer:
        """The generation parameters in a picture."""
        if not body.image.strip():
            raise Refusal(404, "Image not found", "png-info needs a picture in image.")
        text = read_infotext(io.BytesIO(received(body.image, api.context.settings.current)))
        return PngInfoAnswer(info=text, items={"parameters": text} if text else {}, parameters=parse_infotext(text) if text else {})

    @router.post("/unload-checkpoint")
    def unload_checkpoint() -> dict[str, Any]:
        """Give the device's memory back; the next job loads the model again."""
        api.context.queue.unload()
        return {}

    @router.post("/reload-checkpoint")
    def reload_checkpoint() -> dict[str, Any]:
        """Nothing to do: the next job loads the model where it is not loaded."""
        return {}

    return router


def missing_routes() -> APIRouter:
    """A1111's routes below /sdapi/v1 for what is not here."""
    router = APIRouter(prefix="/sdapi/v1", tags=["not in this program"], route_class=ApiRoute, responses=_MISSING)

    @router.post("/interrogate")
    def interrogate(body: InterrogateBody) -> None:
        """Captions: not in this program."""
        if not body.image:
            raise Refusal(404, "Image not found", "interrogate needs a picture in image.")
        if body.model not in _INTERROGATORS:
            raise Refusal(404, "Model not found", f"There is no interrogator called {body.model[:60]!r}.")
        raise Refusal(501, _INTERROGATE)

    @router.post("/create/embedding")
    @router.post("/create/hypernetwork")
    @router.post("/train/embedding")
    @router.post("/train/hypernetwork")
    def training() -> None:
        """Training: on the page only."""
        raise Refusal(501, _TRAINING)

    return router
