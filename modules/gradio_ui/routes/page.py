"""The page's own routes: its script, the job stream, pictures by id, token counts. Not an interface for other programs; that is `http_api`.

Who the caller is was decided by the guard in front of everything and stands in `request.state.viewer`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from modules.context import AppContext
from modules.domain.errors import UserError
from modules.domain.jobs import Job
from modules.domain.networks import MAX_VECTORS
from modules.domain.results import SavedImage
from modules.domain.training import TrainRequest
from modules.domain.viewers import viewer_of
from modules.gradio_ui.bindings.train import loss_curve
from modules.gradio_ui.routes.runs import image_json, runs_json
from modules.gradio_ui.routes.stream import engine_json, job_stream, jobs_json
from modules.imaging.files import read_infotext
from modules.prompts.chunks import count_tokens
from modules.prompts.inserts import inserts_of, mentioned
from modules.prompts.tokenizer import clip_tokenizer
from modules.settings.rows import SettingRow, rows

STATIC = Path(__file__).parents[1] / "static"
SCRIPTS = (
    *("core.js", "hints.js", "form.js", "runs.js", "output.js", "viewer.js"),
    *("completion.js", "keys.js", "tokens.js", "hires.js", "drop.js", "settings.js", "gallery.js", "cards.js", "img2img.js", "extras.js"),
    *("merger.js", "train.js"),
)
_IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}
_MAX_PROMPT = 200_000
_MAX_SEARCH = 500
_MAX_PICTURE = 64 * 1024 * 1024


def page_routes(context: AppContext, theme: str | None = None) -> APIRouter:
    """All routes below `/internal`. `theme` (dark or light, from the command line) goes before the setting."""
    router = APIRouter(prefix="/internal", include_in_schema=False)
    _page_files(router, context, theme)
    _job_routes(router, context)
    _picture_routes(router, context)
    _text_routes(router, context)
    return router


def _page_files(router: APIRouter, context: AppContext, theme: str | None) -> None:
    @router.get("/ping")
    def ping() -> dict[str, Any]:
        return {"ready": True, "engine": engine_json(context.queue.engine)}

    @router.get("/page.js")
    def script() -> Response:
        page = context.settings.current.page
        config = {
            "theme": theme or page.theme.casefold(),
            "emphasisStep": page.emphasis_step,
            "networkStep": page.network_step,
            "completeWords": page.complete_words,
            "send": {"prompt": page.send_prompt, "seed": page.send_seed, "size": page.send_size},
            "version": context.version,
            "settings": [_setting_json(row) for row in rows() if not row.control.host],
        }
        text = f"window.webuiConfig = {json.dumps(config)};\n" + _joined(STATIC / name for name in SCRIPTS)
        text += "\ndispatchEvent(new Event('webui-ready'));\n"
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @router.get("/icon.svg")
    def icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


def _setting_json(row: SettingRow) -> dict[str, str]:
    """What the settings search looks through: Gradio draws a section only once it is opened, so the document can't be searched."""
    return {"key": row.control.key, "label": row.control.label, "info": row.control.info, "section": row.section_title}


def _job_routes(router: APIRouter, context: AppContext) -> None:
    @router.get("/jobs")
    def jobs(request: Request) -> dict[str, Any]:
        share = getattr(request.app.state, "share_url", None)
        viewer = viewer_of(request.state)
        return {
            "jobs": jobs_json(context, viewer.owners),
            "runs": runs_json(context, viewer.owners),
            "engine": engine_json(context.queue.engine),
            "share": share,
        }

    @router.get("/jobs/stream")
    async def stream(request: Request) -> StreamingResponse:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(job_stream(context, viewer_of(request.state)), media_type="text/event-stream", headers=headers)

    @router.post("/jobs/{job_id}/interrupt")
    def interrupt(job_id: str, request: Request, now: bool = False) -> dict[str, bool]:
        job = _own_job(context, job_id, request)
        gently = not now and context.settings.current.page.interrupt_after_current and context.runs.has_more(job)
        context.runs.interrupt(job.id, after_batch=gently)
        return {"ending": gently}

    @router.post("/jobs/{job_id}/cancel")
    def cancel(job_id: str, request: Request) -> dict[str, str]:
        context.queue.interrupt(_own_job(context, job_id, request).id)
        return {}

    @router.post("/jobs/{job_id}/skip")
    def skip(job_id: str, request: Request) -> dict[str, str]:
        context.queue.skip(_own_job(context, job_id, request).id)
        return {}

    @router.post("/jobs/{job_id}/first")
    def first(job_id: str, request: Request) -> dict[str, str]:
        context.queue.move_first(_own_job(context, job_id, request).id)
        return {}

    @router.post("/jobs/clear")
    def clear(request: Request) -> dict[str, str]:
        owners = viewer_of(request.state).owners
        for run in context.runs.list(owners):
            context.runs.pause(run.id)  # or it would go on queueing
        context.queue.clear(owners)
        return {}

    @router.get("/jobs/{job_id}/losses")
    def losses(job_id: str, request: Request) -> dict[str, Any]:
        job = _own_job(context, job_id, request)
        return {"losses": loss_curve(context, job.request) if isinstance(job.request, TrainRequest) else []}


def _own_job(context: AppContext, job_id: str, request: Request) -> Job:
    job = context.queue.get(job_id)
    if job is None or not viewer_of(request.state).sees(job.owner):
        raise HTTPException(404, "There is no such job.")
    return job


def _picture_routes(router: APIRouter, context: AppContext) -> None:
    def own_image(image_id: str, request: Request) -> SavedImage:
        image = context.gallery.get(image_id, viewer_of(request.state).owners)
        if image is None:
            raise HTTPException(404, "There is no such picture.")
        return image

    def answer(path: Path, name: str) -> Response:
        kind = _TYPES.get(path.suffix.lower())
        if kind is None or not path.is_file():
            raise HTTPException(404, "The picture's file is gone.")
        headers = {**_IMMUTABLE, "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        return FileResponse(path, media_type=kind, headers=headers, filename=name, content_disposition_type="inline")

    @router.get("/images")
    def images(request: Request, before: float | None = None, limit: int = 60, words: str = "", favourites: bool = False) -> dict[str, Any]:
        wanted = max(1, min(limit, 200))
        owners = viewer_of(request.state).owners
        rows = context.gallery.recent(wanted, before, owners, words=words[:_MAX_SEARCH], favourites=favourites)
        return {"images": [{**image_json(row), "created": row.created} for row in rows]}

    @router.get("/images/{image_id}")
    def image(image_id: str, request: Request) -> Response:
        row = own_image(image_id, request)
        return answer(context.gallery.path(row.id), Path(row.path).name)

    @router.post("/images/{image_id}/favourite")
    def favourite(image_id: str, request: Request, chosen: bool) -> dict[str, bool]:
        context.gallery.set_favourite(own_image(image_id, request).id, chosen)
        return {"favourite": chosen}

    @router.post("/images/{image_id}/delete")
    def delete(image_id: str, request: Request) -> dict[str, str]:
        image = own_image(image_id, request)
        run = context.runs.get(context.runs.run_of(image.job_id))
        if run is not None and run.active:
            raise HTTPException(409, f"{run.script} is not done and needs this picture: wait for its end, or cancel it first.")
        context.gallery.delete(image.id)
        return {}

    @router.get("/thumbs/{image_id}")
    def thumb(image_id: str, request: Request, side: int = 256) -> Response:
        row = own_image(image_id, request)
        path = context.gallery.thumbnail(row.id, 512 if side > 256 else 256)
        found = answer(path, path.name)
        if context.gallery.is_placeholder(path):
            found.headers["Cache-Control"] = "no-store"
        return found


def _text_routes(router: APIRouter, context: AppContext) -> None:
    @router.post("/tokens")
    def tokens(
        prompt: Annotated[str, Body(embed=True, max_length=_MAX_PROMPT)], steps: Annotated[int, Body(embed=True)] = 20
    ) -> dict[str, int]:
        words = {row.word: row.vectors or 0 for row in context.catalog.snapshot().embeddings}
        known = {word: words[word] for word in mentioned(prompt, words) if 0 < words[word] <= MAX_VECTORS}
        count, limit = count_tokens(prompt, max(1, min(steps, 1000)), inserts=inserts_of(known, clip_tokenizer()))
        return {"count": count, "limit": limit}

    @router.post("/png-info")
    async def png_info(request: Request) -> Response:
        """The generation parameters in the picture that is the request's body."""
        body = await request.body()
        if len(body) > _MAX_PICTURE:
            raise HTTPException(413, "The picture is larger than 64 MB.")
        try:
            return JSONResponse({"infotext": await run_in_threadpool(read_infotext, io.BytesIO(body))})
        except UserError as error:
            return JSONResponse({"infotext": "", "error": str(error)})


def _joined(files: Iterable[Path]) -> str:
    return "\n".join(file.read_text("utf-8") for file in files)
