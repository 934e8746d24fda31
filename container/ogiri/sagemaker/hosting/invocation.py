"""One request to a model: body in, answer out."""

from __future__ import annotations

import io
import select
import socket
from collections.abc import Callable, Iterable

from flask import Request, Response, g

from ogiri.sagemaker.hosting import body, errors, negotiation
from ogiri.sagemaker.hosting.correlation import Trace
from ogiri.sagemaker.hosting.exchange import Exchange, answer_lines
from ogiri.sagemaker.hosting.settings import EVENT_STREAM, JSON, JSON_LINES, TEXT, Settings
from ogiri.sagemaker.hosting.stream import json_bytes, streamed
from ogiri.task import Answer, Body, Deadline, Predictor


def invoke(request: Request, predictor: Predictor, settings: Settings) -> Response:
    """Answer a request. A response that is streamed is still at work until it is closed.

    Raises:
        RequestError: it cannot be answered as it is.
    """
    deadline = Deadline.after(settings.timeout_seconds)
    content_type = negotiation.content_type(request, predictor.content_types)
    wish = negotiation.accepted(request, negotiation.FOR_ANY, settings.default_accept)
    read = body.read(request, content_type, predictor, settings, stream=wish == EVENT_STREAM)
    cancelled = _caller_gone(request)
    if content_type == JSON_LINES:
        media_type = negotiation.accepted(request, negotiation.FOR_LINES, settings.default_accept)
        return _answered_lines(answer_lines(predictor, read, deadline, cancelled), media_type, g.trace)
    return _answered(request, predictor, read, settings, deadline, cancelled)


def _answered(
    request: Request,
    predictor: Predictor,
    read: Body,
    settings: Settings,
    deadline: Deadline,
    cancelled: Callable[[], bool],
) -> Response:
    payload = predictor.parse(read)
    possible = negotiation.FOR_STREAM if payload.stream else negotiation.FOR_OTHERS
    media_type = negotiation.accepted(request, possible, settings.default_accept)
    if payload.stream and media_type in negotiation.STREAMED:
        return streamed(predictor.submit(payload.requests[0], deadline, cancelled), media_type, g.trace)
    exchange = Exchange(predictor, payload, deadline, cancelled)
    if media_type == JSON_LINES:
        return _response(b"".join(json_bytes(answer.json) + b"\n" for answer in exchange.answers()), media_type)
    answer = exchange.answer()
    return _response(answer.text.encode() if media_type == TEXT else json_bytes(answer.json), media_type)


def _answered_lines(answers: Iterable[Answer | Exception], media_type: str, trace: Trace) -> Response:
    """A line for every line; in JSON, what they hold in the list `predictions`."""
    before, between, after = (b'{"predictions": [', b", ", b"]}") if media_type == JSON else (b"", b"\n", b"\n")
    written = io.BytesIO()
    written.write(before)
    count = failed = 0
    for count, answer in enumerate(answers, start=1):
        line, is_error = _line(answer, media_type, trace.request_id)
        written.write(between if count > 1 else b"")
        written.write(line)
        failed += is_error
    written.write(after)
    trace.notes.update(lines=count, failed_lines=failed)
    return _response(written.getvalue(), media_type)


def _line(answer: Answer | Exception, media_type: str, request_id: str) -> tuple[bytes, bool]:
    """The line, and whether it is an error."""
    try:
        if isinstance(answer, Exception):
            raise answer
        return (" ".join(answer.text.splitlines()).encode() if media_type == TEXT else json_bytes(answer.json)), False
    except Exception as error:
        told = errors.told(error, request_id)
        return errors.error_body(told.code, str(told), request_id), True


def _caller_gone(request: Request) -> Callable[[], bool]:
    """Whether the connection has been closed, from the other side most likely: nginx does so once its caller has.

    Any thread may ask, even after the answer was sent.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    return lambda: connection is not None and _is_closed(connection.fileno())


def _is_closed(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    poller = select.poll()  # one may not be shared by threads
    poller.register(descriptor, select.POLLRDHUP)
    return bool(poller.poll(0))


def _response(data: bytes, media_type: str) -> Response:
    return Response(data, content_type=f"{TEXT}; charset=utf-8" if media_type == TEXT else media_type)
