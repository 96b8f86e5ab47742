"""Puts the page into the web application: routes first, Gradio last, and the holes shut that a mounted Gradio leaves open."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from modules.context import AppContext
from modules.domain.errors import UserError
from modules.domain.viewers import viewer_of
from modules.gradio_ui.routes.completions import completion_routes
from modules.gradio_ui.routes.inputs import input_routes
from modules.gradio_ui.routes.networks import network_routes
from modules.gradio_ui.routes.page import STATIC, page_routes
from modules.gradio_ui.routes.runs import run_routes
from modules.gradio_ui.theme import page_theme

MAX_UPLOAD = "64mb"
_HEAD = """
<link rel="icon" type="image/svg+xml" href="internal/icon.svg">
<meta name="viewport" content="width=device-width, initial-scale=1">
<script src="internal/page.js"></script>
"""


def mount_page(app: FastAPI, demo: gr.Blocks, context: AppContext, theme: str | None = None) -> FastAPI:
    """Add the page's routes and the page itself, at "/", to `app`. Routes added to `app` after this are not reached."""
    paths = context.paths
    app.add_exception_handler(UserError, sentence)
    app.include_router(page_routes(context, theme))
    app.include_router(run_routes(context))
    app.include_router(network_routes(context))
    app.include_router(completion_routes(context))
    app.include_router(input_routes(context))
    gr.mount_gradio_app(
        app,
        demo,
        path="/",
        auth_dependency=_user,
        allowed_paths=[],
        # Not the whole data folder: the uploads lie in it.
        blocked_paths=[str(path) for path in (paths.state, paths.outputs, paths.models, paths.config_file, paths.params_file)],
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        mcp_server=False,
        pwa=False,
        theme=page_theme(),
        css="".join((STATIC / name).read_text("utf-8") for name in ("page.css", "canvas.css")),
        head=_HEAD,
    )
    # Gradio checks the paths that clients send only once it was launched, and mounting never launches: without this line any client could
    # have any file read (tests/gradio_ui/test_page.py).
    demo.has_launched = True
    _sleep_more(demo)
    return app


def sentence(request: Request, error: Exception) -> JSONResponse:
    """What a user can do something about is said in the words of the error, which the page's script shows."""
    return JSONResponse({"detail": str(error)}, status_code=409)


def _user(request: Request) -> str:
    """Whom the guard let in. Empty means that there is no login, which Gradio must not take for "nobody"."""
    return viewer_of(request.state).name


def _sleep_more(demo: gr.Blocks) -> None:
    """Gradio looks into its own queue a thousand times a second; nothing of ours is ever in it."""
    queue = getattr(demo, "_queue", None)
    if queue is not None and hasattr(queue, "sleep_when_free"):
        queue.sleep_when_free = 0.05
