"""Puts the API into the web application: every route, the schema at /openapi.json and the page that explains it at /docs."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from modules.context import AppContext
from modules.http_api.access import Api
from modules.http_api.docs_page import docs_page
from modules.http_api.extras_routes import extras_routes
from modules.http_api.generation import generation_routes
from modules.http_api.job_routes import job_routes
from modules.http_api.listing_routes import listing_routes
from modules.http_api.mcp_routes import mcp_routes
from modules.http_api.option_routes import option_routes
from modules.http_api.progress_routes import progress_routes, task_routes
from modules.http_api.server_routes import report_routes, server_routes, stop_program
from modules.http_api.tool_routes import missing_routes, tool_routes
from modules.settings.flags import Flags

_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def mount_api(app: FastAPI, context: AppContext, flags: Flags, stop: Callable[[], None] = stop_program) -> FastAPI:
    """Add the API to `app`, in front of whatever is added later. `stop` ends the program."""
    api = Api(context=context, flags=flags)
    for router in (
        generation_routes(api),
        extras_routes(api),
        progress_routes(api),
        job_routes(api),
        listing_routes(api),
        option_routes(api),
        tool_routes(api),
        server_routes(api, stop),
        missing_routes(),
        task_routes(api),
        report_routes(api),
    ):
        app.include_router(router)
    if flags.mcp:
        app.include_router(mcp_routes(api))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    _refuse_other_verbs(app)
    return app


def _refuse_other_verbs(app: FastAPI) -> None:
    """405 for a path of the API that is called by another verb than its own, by which clients find out what there is. Starlette would
    say so itself, but for the page behind the API, which takes every path and knows none of these."""
    known: dict[str, set[str]] = {}
    for route in app.routes:
        if isinstance(route, Route):
            known.setdefault(route.path, set()).update(route.methods or ())

    def refusal(allowed: str) -> Callable[[Request], Response]:
        return lambda _: JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": allowed})

    for path, verbs in known.items():
        app.add_route(path, refusal(", ".join(sorted(verbs))), methods=sorted(_VERBS - verbs), include_in_schema=False)


def mount_doorstep(app: FastAPI) -> FastAPI:
    """What stands in the page's place where there is none: the way to the documentation, and A1111's ping."""

    @app.get("/", include_in_schema=False)
    def front() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/internal/ping", include_in_schema=False)
    def ping() -> dict[str, bool]:
        return {"ready": True}

    return app
