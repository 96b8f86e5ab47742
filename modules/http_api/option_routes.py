"""/sdapi/v1/options and cmd-flags: what is set, setting it, and how the program was started, without its secrets."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from modules.http_api.access import Api
from modules.http_api.errors import PROBLEMS, ApiRoute
from modules.http_api.options import setting_changes, shown_options
from modules.settings.flags import Flags
from modules.settings.paths import Paths

log = logging.getLogger(__name__)

_SECRET = ("gradio_auth", "api_auth", "tls_keyfile")
"""Never shown, only whether they are set."""

_NOT_FLAGS = ("notes",)


def option_routes(api: Api) -> APIRouter:
    """The settings of the program."""
    router = APIRouter(prefix="/sdapi/v1", tags=["settings"], route_class=ApiRoute, responses=PROBLEMS)
    context = api.context

    @router.get("/options")
    def options() -> dict[str, Any]:
        """Every option by its key."""
        return shown_options(context.settings.current, context.settings.as_options(), context.catalog.snapshot())

    @router.post("/options")
    def set_options(changes: dict[str, Any]) -> None:
        """Set options, all or none. Keys that do not exist here are ignored, so the whole object of a GET can be sent back."""
        wanted, unknown = setting_changes(changes, context.settings.current, context.catalog.snapshot())
        if unknown:
            log.info("a client set options that do not exist here: %s", ", ".join(ascii(key[:60]) for key in unknown[:20]))
        if wanted:
            context.settings.update(wanted)

    @router.get("/cmd-flags")
    def cmd_flags() -> dict[str, Any]:
        """The command line's flags by name, folders as they are in use; of a login only that there is one."""
        return {**shown_flags(api.flags), **_folders(context.paths)}

    return router


def shown_flags(flags: Flags) -> dict[str, Any]:
    """The flags as JSON, secrets replaced by stars."""
    shown = {item.name: _plain(getattr(flags, item.name)) for item in fields(flags) if item.name not in _NOT_FLAGS}
    return {**shown, **{name: "***" if shown.get(name) else None for name in _SECRET}}


def _folders(paths: Paths) -> dict[str, str]:
    """What A1111's flags for folders are called, and the first folder of each kind."""
    kinds = {"ckpt_dir": paths.checkpoints, "vae_dir": paths.vaes, "lora_dir": paths.loras}
    firsts = {name: str(folders[0]) for name, folders in kinds.items() if folders}
    return {**firsts, "embeddings_dir": str(paths.embeddings), "models_dir": str(paths.models), "data_dir": str(paths.data)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Path) else value
