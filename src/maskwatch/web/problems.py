"""Errors as problem details (RFC 9457): one JSON form for all that can go wrong."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from maskwatch.errors import ImageError, MaskwatchError, OptionError, ServiceError, SourceError

if TYPE_CHECKING:
    from starlette.types import Message

MEDIA_TYPE = "application/problem+json"
_STATUSES: dict[type[MaskwatchError], int] = {ImageError: 422, SourceError: 422, OptionError: 400}


def problem_of(error: MaskwatchError) -> dict[str, Any]:
    """Problem details of one error, as a JSON object."""
    if isinstance(error, ServiceError):
        return details(error.status or 500, str(error))
    return details(
        next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500), str(error)
    )


def details(status: int, sentence: str) -> dict[str, Any]:
    """Problem details without a type of their own: the title is the status's."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence,
    }


def response_of(error: MaskwatchError) -> Response:
    """The answer that tells a caller of `error`."""
    headers = {}
    if isinstance(error, ServiceError):
        if error.retry_after_s is not None:
            headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    return _response(problem_of(error), headers)


def start_of(error: MaskwatchError) -> tuple[Message, Message]:
    """The same answer as the two messages that ASGI wants, for code below the framework."""
    response = response_of(error)
    return (
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers},
        {"type": "http.response.body", "body": response.body},
    )


def tell_problems(app: FastAPI) -> None:
    """Let `app` answer every error with problem details."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, MaskwatchError)
        return response_of(error)

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _response(details(error.status_code, str(error.detail)), dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        return _response(details(400, f"{place}: {first['msg']}; see /docs"), {})

    async def gone(_: Request, __: Exception) -> Response:
        return _response(details(400, "the request broke off"), {})

    app.add_exception_handler(MaskwatchError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)


def _response(content: dict[str, Any], headers: dict[str, str]) -> Response:
    body = json.dumps(content, ensure_ascii=False).encode()
    return Response(body, content["status"], headers, MEDIA_TYPE)
