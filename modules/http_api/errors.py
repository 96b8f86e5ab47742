"""How does a failure look to a client? A1111's JSON object and a status that says whose fault it is.

The route class catches everything itself: an exception that leaves a route would cost the client its connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from modules.domain.errors import (
    ImageUnreadable,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    SettingsConflict,
    UserError,
)
from modules.http_api.models import Problem

log = logging.getLogger(__name__)

_PROBLEM: dict[str, Any] = {"model": Problem, "description": "The request can't be done; the answer says why."}
PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM, 422: _PROBLEM}
"""What the documentation says of every route."""

_STATUS: tuple[tuple[type[UserError], int], ...] = (
    (InvalidRequest, 422),
    (ModelNotFound, 422),
    (ImageUnreadable, 422),
    (SettingsConflict, 409),
    (QueueFull, 429),
)
_SHOWN = 1200
_DEFECT = "This is a defect of the program. The log has the details."


class Refusal(HTTPException):
    """An answer with A1111's own words as `detail`, and a sentence for people beside them."""

    def __init__(self, status: int, detail: str, sentence: str = "") -> None:
        super().__init__(status, detail)
        self.sentence = f"{detail}: {sentence}" if sentence else detail


class JobFailed(Refusal):
    """The job ended with an error; `kind` is the error's class name."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(status_of(kind), sentence)
        self.kind = kind


def status_of(kind: str) -> int:
    """The status for an error class by its name: 4xx where the request is at fault, else 500."""
    return next((status for error, status in _STATUS if error.__name__ == kind), 500)


class ApiRoute(APIRoute):
    """A route whose failures are answered in A1111's shape and whose answers say how long they took."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            started = time.perf_counter()
            try:
                answer = await inner(request)
            except (UserError, HTTPException, RequestValidationError) as error:
                answer = problem_answer(error)
            except Exception as error:
                log.exception("A request to the API failed by a defect of this program")
                answer = _problem(500, error, _DEFECT, f"{type(error).__name__}: {error}")
            answer.headers["X-Process-Time"] = f"{time.perf_counter() - started:.4f}"
            return answer

        return handler


def problem_answer(error: UserError | HTTPException | RequestValidationError) -> Response:
    """The answer to a request that failed with `error`."""
    if isinstance(error, RequestValidationError):
        fields = [{"loc": list(part["loc"]), "msg": str(part["msg"]), "type": str(part["type"])} for part in error.errors()]
        sentence = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in fields)
        return _problem(422, error, fields, sentence)
    if isinstance(error, JobFailed):
        return _problem(error.status_code, error, error.detail, error.sentence, kind=error.kind)
    if isinstance(error, HTTPException):
        sentence = error.sentence if isinstance(error, Refusal) else str(error.detail)
        return _problem(error.status_code, error, error.detail, sentence, kind="HTTPException")
    return _problem(status_of(type(error).__name__), error, str(error), str(error))


def _writable(value: Any) -> Any:
    """`value` with a question mark for each half of a character: they come in with JSON, and no answer could be sent with them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_writable(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {str(key): _writable(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value


def _problem(status: int, error: Exception, detail: Any, sentence: str, kind: str = "") -> Response:
    shown = sentence if len(sentence) <= _SHOWN else f"{sentence[:_SHOWN]}…"
    problem = Problem(error=kind or type(error).__name__, detail=_writable(detail), errors=_writable(shown))
    headers = getattr(error, "headers", None)
    return JSONResponse(problem.model_dump(), status_code=status, headers=headers)
