"""An answer that is sent while it is written."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from flask import Response

from ogiri.sagemaker.hosting import errors
from ogiri.sagemaker.hosting.correlation import Trace
from ogiri.sagemaker.hosting.settings import EVENT_STREAM
from ogiri.task import Answer, Answering, Piece, unanswered


def streamed(under_way: Answering, media_type: str, trace: Trace) -> Response:
    """Send each piece as it comes, then the answer; or an error of the usual form, if the request fails on the way.

    As events, a piece is `data: {"text": …}`, the others are named `answer` and `error`. As JSON lines, each is a line.

    Raises:
        RequestError: it failed before its first piece, so that the status can still say so.
    """
    try:
        first = _first(under_way)
    except BaseException:
        under_way.close()
        raise
    trace.notes["first_piece_milliseconds"] = trace.milliseconds()
    response = Response(_chunks(first, under_way, media_type, trace), mimetype=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"  # nginx passes each piece on at once
    response.call_on_close(under_way.close)
    return response


def _first(under_way: Answering) -> Piece | Answer:
    for part in under_way:
        if isinstance(part, Answer) or part.text:
            return part
    raise unanswered()


def _chunks(first: Piece | Answer, under_way: Answering, media_type: str, trace: Trace) -> Iterator[bytes]:
    try:
        for part in itertools.chain((first,), under_way):
            if isinstance(part, Answer):
                yield _chunk(media_type, "answer", json_bytes(part.json))
                return
            if part.text:
                yield _chunk(media_type, "", json_bytes({"text": part.text}))
        raise unanswered()
    except GeneratorExit:
        trace.notes["error"] = unanswered().code
        raise
    except Exception as error:
        told = errors.told(error, trace.request_id)
        trace.notes["error"] = told.code
        yield _chunk(media_type, "error", errors.error_body(told.code, str(told), trace.request_id))


def _chunk(media_type: str, event: str, document: bytes) -> bytes:
    if media_type != EVENT_STREAM:
        return document + b"\n"
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + document + b"\n\n"


def json_bytes(document: Any) -> bytes:
    """A document as an answer has it: characters as they are, and no NaN."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
