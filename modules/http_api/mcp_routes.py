"""/mcp, with `--mcp`: the Model Context Protocol over HTTP, for assistants that draw. One JSON-RPC message a request, one answer.

Streams and sessions, which the protocol leaves to the server, are not used: what outlives a call is a job, and has an id.
"""

from __future__ import annotations

import json
from typing import Any, cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from modules.domain.errors import UserError
from modules.domain.viewers import Viewer, viewer_of
from modules.http_api.access import Api
from modules.http_api.errors import ApiRoute, Refusal
from modules.http_api.mcp_tools import TOOLS

VERSIONS = ("2025-06-18", "2025-03-26")
"""Of the protocol, the newest first."""

_PARSE_ERROR, _INVALID_REQUEST, _NO_METHOD, _INVALID_PARAMS = -32700, -32600, -32601, -32602


class _ProtocolError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def mcp_routes(api: Api) -> APIRouter:
    """The endpoint. GET is answered 405: there is no stream to listen to."""
    router = APIRouter(route_class=ApiRoute, include_in_schema=False)

    @router.post("/mcp")
    async def message(request: Request) -> Response:
        number: Any = None
        try:
            call = _parsed(await request.body())
            number = call.get("id")
            if number is None:
                return Response(status_code=202)
            result = await _result(api, str(call["method"]), cast("dict[str, Any]", call.get("params") or {}), viewer_of(request.state))
            return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})
        except _ProtocolError as error:
            status = 400 if error.code in (_PARSE_ERROR, _INVALID_REQUEST) else 200
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": {"code": error.code, "message": str(error)}}, status)

    return router


def _parsed(body: bytes) -> dict[str, Any]:
    """The message. Raises `_ProtocolError`."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _ProtocolError(_PARSE_ERROR, "The body is no JSON.") from error
    if not isinstance(call, dict) or call.get("jsonrpc") != "2.0" or not isinstance(call.get("method"), str):
        raise _ProtocolError(_INVALID_REQUEST, 'A message is {"jsonrpc": "2.0", "id": …, "method": …, "params": {…}}.')
    whole = cast("dict[str, Any]", call)
    if not isinstance(whole.get("id"), (str, int, type(None))) or not isinstance(whole.get("params", {}), (dict, type(None))):
        raise _ProtocolError(_INVALID_REQUEST, "id is a text or a whole number, and params an object.")
    return whole


async def _result(api: Api, method: str, params: dict[str, Any], viewer: Viewer) -> dict[str, Any]:
    """What a method gives. Raises `_ProtocolError`."""
    if method == "initialize":
        asked = params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "diffusion-webui", "version": api.context.version},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [tool.described(name) for name, tool in TOOLS.items()]}
    if method == "tools/call":
        return await _called(api, params, viewer)
    raise _ProtocolError(_NO_METHOD, f"There is no method {method[:60]!a}.")


async def _called(api: Api, params: dict[str, Any], viewer: Viewer) -> dict[str, Any]:
    """What a tool gives. A tool that fails gives the reason as content, for the assistant to read."""
    tool = TOOLS.get(str(params.get("name")))
    if tool is None:
        raise _ProtocolError(_INVALID_PARAMS, f"There is no such tool. There are: {', '.join(TOOLS)}.")
    try:
        asked = tool.arguments.model_validate(params.get("arguments") or {})
        return {"content": await tool.run(api, asked, viewer), "isError": False}
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        return _failure(wrong)
    except Refusal as error:
        return _failure(error.sentence)
    except (UserError, HTTPException) as error:
        return _failure(str(error))


def _failure(sentence: str) -> dict[str, Any]:
    plain = sentence.encode("utf-8", "replace").decode()
    return {"content": [{"type": "text", "text": plain}], "isError": True}
