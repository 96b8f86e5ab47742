"""A guarded app with side effects that can be counted, in process and behind a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from modules.server.guard import Guard, GuardConfig
from modules.server.hosts import HostRules
from modules.server.login import Accounts, Login


def make_app() -> FastAPI:
    """Routes of every kind; `app.state.effects` counts what got through."""
    app = FastAPI()
    app.state.effects = 0

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return "<html>the page</html>"

    @app.post("/sdapi/v1/interrupt")
    def interrupt(request: Request) -> dict[str, str]:
        app.state.effects += 1
        return {"user": request.state.viewer.name}

    @app.post("/gradio_api/upload")
    async def upload(request: Request) -> dict[str, int]:
        size = len(await request.body())
        app.state.effects += 1
        return {"size": size}

    @app.post("/json")
    def takes_json(body: dict[str, Any]) -> dict[str, int]:
        app.state.effects += 1
        return {"fields": len(body)}

    @app.api_route("/any", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
    def anything(request: Request) -> dict[str, str]:
        app.state.effects += 1
        return {"user": request.state.viewer.name}

    @app.get("/internal/jobs/stream")
    async def stream() -> StreamingResponse:
        async def forever():
            while True:
                yield b": ka\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(forever(), media_type="text/event-stream")

    _file_routes(app)
    return app


def _file_routes(app: FastAPI) -> None:
    @app.get("/gradio_api/file={path:path}")
    def file(path: str) -> Response:
        app.state.effects += 1
        return Response("<script>alert(1)</script>", media_type="text/html")

    @app.get("/picture")
    def picture() -> Response:
        return Response(b"\x89PNG", media_type="image/png")

    @app.get("/open")
    def generous() -> Response:
        return Response(
            "x", headers={"Access-Control-Allow-Origin": "https://evil.example", "Access-Control-Allow-Credentials": "true", "Server": "x"}
        )


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def guarded(
    app: FastAPI, *, users: tuple[tuple[str, str], ...] = (), api: tuple[tuple[str, str], ...] = (), clock: Clock | None = None, **more: Any
) -> Guard:
    login = Login(Accounts(page=users, api=api), cookie="webui-session-7860", clock=clock or Clock()) if users or api else None
    return Guard(app, GuardConfig(login=login, **{"hosts": HostRules(), **more}))


def client(guard: Guard, base: str = "http://127.0.0.1:7860", address: str = "10.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard, client=(address, 5)), base_url=base)


@contextlib.contextmanager
def served(guard: Guard) -> Iterator[int]:
    """The port of a real server around `guard`."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(guard, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
