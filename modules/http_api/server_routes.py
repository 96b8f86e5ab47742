"""About the program itself: memory, stopping it where the command line allows that, and the report for a bug."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
from fastapi import APIRouter, Response
from pydantic import BaseModel

from modules.http_api.access import Api
from modules.http_api.errors import PROBLEMS, ApiRoute, Refusal
from modules.http_api.option_routes import shown_flags
from modules.settings.rows import rows

_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "gradio", "fastapi", "pydantic", "pillow", "numpy", "xformers")


class MemoryAnswer(BaseModel):
    """Memory in bytes; of the device's only the engine's process knows, and it is not asked."""

    ram: dict[str, Any]
    cuda: dict[str, Any]


def server_routes(api: Api, stop: Callable[[], None]) -> APIRouter:
    """The routes below /sdapi/v1. `stop` ends the program in good order; those that do are there with --api-server-stop only."""
    router = APIRouter(prefix="/sdapi/v1", tags=["server"], route_class=ApiRoute, responses=PROBLEMS)

    @router.get("/memory")
    def memory() -> MemoryAnswer:
        """How much memory the program uses, its engine included."""
        return MemoryAnswer(ram=_ram(), cuda={"error": "The engine's process holds the device; this one does not see it."})

    if api.flags.api_server_stop:

        @router.post("/server-kill")
        @router.post("/server-stop")
        def end() -> Response:
            """End the program. What waits is done after the next start."""
            stop()
            return Response("Stopping.")

        @router.post("/server-restart", responses={501: {}})
        def restart() -> None:
            """Not possible: whoever started the program has to start it again."""
            raise Refusal(501, "Stop it with server-stop, and let what started it start it again.")

    return router


def stop_program() -> None:
    """What Ctrl+C does."""
    os.kill(os.getpid(), signal.SIGINT)


def report_routes(api: Api) -> APIRouter:
    """The routes below /internal."""
    router = APIRouter(prefix="/internal", tags=["server"], route_class=ApiRoute, responses=PROBLEMS)

    @router.get("/sysinfo")
    def sysinfo() -> dict[str, Any]:
        """What a bug report needs: versions, flags and settings, without secrets."""
        return {
            "Platform": platform.platform(),
            "Python": platform.python_version(),
            "Version": api.context.version,
            "CPU": {"count logical": psutil.cpu_count(), "count physical": psutil.cpu_count(logical=False)},
            "RAM": _ram(),
            "Engine": {"state": api.context.queue.engine.state, "device": api.context.queue.engine.device},
            "Packages": {name: found for name in _PACKAGES if (found := _version(name))},
            "Flags": shown_flags(api.flags),
            "Config": api.context.settings.as_options(),
            "Problems": [*api.context.settings.problems, *api.context.queue.problems, *api.context.gallery.problems],
        }

    @router.get("/quicksettings-hint")
    def quicksettings_hint() -> list[dict[str, str]]:
        """The keys and labels of all settings."""
        return [{"name": row.control.key, "label": row.control.label} for row in rows()]

    return router


def _ram() -> dict[str, int]:
    own = psutil.Process()
    used = sum(map(_resident, (own, *own.children(recursive=True))))
    system = psutil.virtual_memory()
    return {"free": system.available, "used": used, "total": system.total}


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0  # it ended while it was looked at


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
