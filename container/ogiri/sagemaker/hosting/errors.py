"""Errors as the caller sees them: `{"error": {"code", "message", "request_id"}}`, never a traceback."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from ogiri.sagemaker.hosting.settings import JSON
from ogiri.task import RequestError

MAX_BODY_BYTES = 2048
"""SageMaker passes no more characters of an error on to the caller."""

logger = logging.getLogger(__name__)


def register(app: Flask) -> None:
    """Make every error of `app` an answer of that form."""
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def error_response(status: int, code: str, message: str) -> Response:
    """The answer; 429 and 503 say when to come back."""
    g.trace.notes["error"] = code
    response = Response(error_body(code, message, g.request_id), status, mimetype=JSON)
    if status in (429, 503):
        response.headers["Retry-After"] = "1"
    return response


def error_body(code: str, message: str, request_id: str) -> bytes:
    """The body, its message cut so that the whole stays within MAX_BODY_BYTES."""
    message = message[:MAX_BODY_BYTES]  # no more can fit, and megabytes would take seconds
    while True:
        error = {"code": code, "message": message, "request_id": request_id}
        body = json.dumps({"error": error}, ensure_ascii=False).encode(errors="replace")
        if len(body) <= MAX_BODY_BYTES:
            return body
        message = message[: len(message) * 3 // 4] + "…"


def told(error: Exception, request_id: str) -> RequestError:
    """What the caller is told of an error: itself if it is meant for the caller; else its cause goes into the log."""
    if isinstance(error, RequestError):
        return error
    logger.error("a request failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    return RequestError("internal error: the container's log has the cause", "internal_error", 500)


def _request_error(error: RequestError) -> Response:
    return error_response(error.status, error.code, str(error))


def _http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    code = status.name.lower()
    if isinstance(error, NotFound):
        return error_response(status, code, "there is no such path: models answer at /invocations")
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        response = error_response(status, code, f"{request.method} is not supported here: use {allowed}")
        response.headers["Allow"] = allowed
        return response
    return error_response(status, code, error.description or status.phrase)


def _unexpected(error: Exception) -> Response:
    return _request_error(told(error, g.request_id))
