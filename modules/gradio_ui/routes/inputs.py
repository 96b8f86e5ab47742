"""The routes behind the canvases: pictures go into the store of inputs as files, and come back by id. And the canvases' own scripts."""

from __future__ import annotations

import io
import re
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from modules.context import AppContext
from modules.domain.errors import UserError
from modules.imaging.files import read_infotext

_CANVAS = Path(__file__).parents[1] / "static" / "canvas"
_MAX_PICTURE = 128 << 20
_HEADERS = {
    "Cache-Control": "private, max-age=3600",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def input_routes(context: AppContext) -> APIRouter:
    """The routes below `/internal/inputs` and `/internal/canvas`."""
    router = APIRouter(prefix="/internal", include_in_schema=False)

    @router.post("/inputs")
    async def put(request: Request) -> Response:
        """Keep the picture that is the request's body; a sentence where it is none. Its parameters, which the kept one lacks, go back."""
        body = await request.body()
        if len(body) > _MAX_PICTURE:
            return JSONResponse({"error": f"The picture's file is larger than {_MAX_PICTURE >> 20} MB."}, status_code=413)
        try:
            kept = await run_in_threadpool(context.inputs.put, body)
            infotext = await run_in_threadpool(read_infotext, io.BytesIO(body))
        except UserError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        size = {"width": kept.width, "height": kept.height}
        return JSONResponse({"id": kept.id, **size, "has_alpha": kept.has_alpha, "infotext": infotext})

    @router.api_route("/inputs/{name}.png", methods=["GET", "HEAD"])
    def get(name: str) -> Response:
        try:
            return FileResponse(context.inputs.path(name), media_type="image/png", headers=_HEADERS)
        except UserError as error:
            raise HTTPException(404, str(error)) from error

    @router.get("/canvas/{name}.js")
    def script(name: str) -> Response:
        file = _CANVAS / f"{name}.js"
        if not re.fullmatch("[a-z]+", name) or not file.is_file():
            raise HTTPException(404, "There is no such script.")
        return FileResponse(file, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    return router
