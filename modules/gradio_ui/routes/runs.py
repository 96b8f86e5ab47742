"""What the page hears of runs and tells them: a run as JSON, the routes that pause, resume and cancel one, and its table."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from modules.context import AppContext
from modules.domain.errors import UserError
from modules.domain.results import SavedImage
from modules.domain.viewers import Owners, viewer_of
from modules.imaging.files import open_image
from modules.runs.export import as_csv, as_html
from modules.runs.run import Run
from modules.scripts.script import Sheet

RECENT_RUNS = 4


def image_json(image: SavedImage, run: str = "") -> dict[str, Any]:
    """A picture as the page knows it: by id, never by path. `run` is the id of the run that its job is part of."""
    return {
        "id": image.id,
        "url": f"internal/images/{image.id}",
        "thumb": f"internal/thumbs/{image.id}",
        "width": image.width,
        "height": image.height,
        "seed": image.seed,
        "infotext": image.infotext,
        "parameters": "" if image.infotext.startswith("Postprocess ") else image.infotext,
        "kind": image.kind,
        "index": image.index,
        "job": image.job_id,
        "run": run,
        "favourite": image.favourite,
    }


def run_json(context: AppContext, run: Run, *, with_images: bool = True) -> dict[str, Any]:
    """A run with how far it is; its pictures are left out of the news of a run that goes on, since the page has heard of each."""
    progress = context.runs.progress(run)
    found: dict[str, Any] = {
        "id": run.id,
        "state": run.state,
        "active": run.active,
        "script": run.script,
        "tab": run.tab,
        "prompt": run.request.prompt,
        "created": run.created,
        "seconds": run.finished - run.created if run.finished else None,
        "done": progress.done,
        "total": progress.total,
        "job": progress.job_id,
        "pace": progress.pace,
        "error": run.error,
        "notes": list(run.notes),
        "sheet": run.sheet is not None,
    }
    if with_images:
        found["images"] = [image_json(image, run.id) for image in context.runs.images(run)]
    return found


def runs_json(context: AppContext, owners: Owners) -> list[dict[str, Any]]:
    """The active runs of `owners` and the latest others, oldest first."""
    return [run_json(context, run) for run in context.runs.list(owners, RECENT_RUNS)]


def run_routes(context: AppContext) -> APIRouter:
    """The routes below `/internal/runs`."""
    router = APIRouter(prefix="/internal/runs", include_in_schema=False)

    def own(run_id: str, request: Request) -> Run:
        run = context.runs.get(run_id)
        if run is None or not viewer_of(request.state).sees(run.owner):
            raise HTTPException(404, "There is no such run.")
        return run

    def finished(run_id: str, request: Request) -> tuple[Run, Sheet]:
        run = own(run_id, request)
        if run.sheet is None:
            raise HTTPException(404, "This run has no table.")
        return run, run.sheet

    @router.post("/{run_id}/pause")
    def pause(run_id: str, request: Request) -> dict[str, Any]:
        return run_json(context, context.runs.pause(own(run_id, request).id))

    @router.post("/{run_id}/cancel")
    def cancel(run_id: str, request: Request) -> dict[str, Any]:
        return run_json(context, context.runs.cancel(own(run_id, request).id))

    @router.post("/{run_id}/resume")
    def resume(run_id: str, request: Request) -> dict[str, Any]:
        try:
            return run_json(context, context.runs.go_on(own(run_id, request).id))
        except UserError as error:
            raise HTTPException(409, str(error)) from error

    @router.get("/{run_id}/sheet")
    def sheet(run_id: str, request: Request) -> dict[str, Any]:
        run, table = finished(run_id, request)
        found = [context.gallery.get(image_id) if image_id else None for image_id in table.cells]
        return {
            "axes": [{"name": name, "labels": list(labels)} for name, labels in table.axes],
            "cells": [image_json(image, run.id) if image else None for image in found],
        }

    @router.get("/{run_id}/sheet.csv")
    def sheet_csv(run_id: str, request: Request) -> Response:
        run, table = finished(run_id, request)
        return _file(as_csv(table, context.gallery.get), "text/csv; charset=utf-8", f"sweep-{run.id}.csv")

    @router.get("/{run_id}/sheet.html")
    def sheet_html(run_id: str, request: Request) -> Response:
        run, table = finished(run_id, request)
        text = as_html(run, table, context.gallery.get, lambda image: open_image(context.gallery.path(image.id)))
        return _file(text, "text/html; charset=utf-8", f"sweep-{run.id}.html")

    return router


def _file(text: str, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": "sandbox; default-src 'none'"}
    return Response(text, media_type=kind, headers={**headers, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
