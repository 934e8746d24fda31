"""One request to a model: body in, answer out."""

from __future__ import annotations

import dataclasses
import json
import select
import socket
from collections.abc import Callable

from flask import Request, Response
from werkzeug.exceptions import RequestEntityTooLarge

from ogiri.sagemaker.hosting import negotiation
from ogiri.sagemaker.hosting.correlation import CUSTOM_ATTRIBUTES, custom_attributes
from ogiri.sagemaker.hosting.settings import TEXT, Settings
from ogiri.task import Answer, Body, Deadline, Predictor, RequestError, answer


def invoke(request: Request, predictor: Predictor, settings: Settings) -> Response:
    """Answer a request.

    Raises:
        RequestError: it cannot be answered as it is.
    """
    deadline = Deadline.after(settings.timeout_seconds)
    content_type = negotiation.content_type(request, predictor.content_types)
    media_type = negotiation.accepted(request, settings.default_accept)
    payload = predictor.parse(_read_body(request, content_type, predictor, settings))
    cancelled = _caller_gone(request)
    answers = [answer(predictor, wanted, deadline, cancelled) for wanted in payload.requests]
    return _respond(payload.assemble(answers), media_type)


def _read_body(request: Request, content_type: str, predictor: Predictor, settings: Settings) -> Body:
    try:
        data = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise RequestError(
            f"the body is larger than {settings.max_payload_mb} MB, the limit that SAGEMAKER_MAX_PAYLOAD_IN_MB sets",
            "payload_too_large",
            413,
        ) from error
    if not data:
        raise RequestError("the body is empty", "empty_body")
    known = {field.name for field in dataclasses.fields(predictor.parameters)}
    return Body(content_type, data, custom_attributes(request.headers.get(CUSTOM_ATTRIBUTES, ""), known))


def _caller_gone(request: Request) -> Callable[[], bool]:
    """Whether the connection has been closed from the other side: nginx does so as soon as its caller has."""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:
        return lambda: False
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    return lambda: bool(poller.poll(0))


def _respond(result: Answer, media_type: str) -> Response:
    if media_type == TEXT:
        return Response(result.text, content_type=f"{TEXT}; charset=utf-8")
    return Response(json.dumps(result.json, ensure_ascii=False, allow_nan=False), mimetype=media_type)
