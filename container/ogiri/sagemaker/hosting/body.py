"""The body of a request, up to its limit."""

from __future__ import annotations

import dataclasses

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from ogiri.sagemaker.hosting.correlation import CUSTOM_ATTRIBUTES, custom_attributes
from ogiri.sagemaker.hosting.settings import FORM, Settings
from ogiri.task import Body, Part, Predictor, RequestError

MAX_PARTS = 64  # of a form


def read(request: Request, content_type: str, predictor: Predictor, settings: Settings, *, stream: bool) -> Body:
    """Read the whole body; a form is taken apart. `stream` becomes `Body.stream`.

    Raises:
        RequestError: it is empty, larger than `settings` allows (413), no form although it says so, or a known custom
            attribute cannot be read.
    """
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
    attributes = custom_attributes(request.headers.get(CUSTOM_ATTRIBUTES, ""), known)
    if content_type == FORM:
        found = parts(data, request.mimetype_params.get("boundary", ""))
        return Body(content_type, b"", attributes, found, stream)
    return Body(content_type, data, attributes, stream=stream)


def parts(data: bytes, boundary: str) -> tuple[Part, ...]:
    """The parts of a form, their bytes as they came.

    Raises:
        RequestError: no boundary, cut off, a part without a name, more than MAX_PARTS of them.
    """
    if not boundary:
        raise RequestError(
            "Content-Type multipart/form-data has no boundary: let the HTTP client set it", "invalid_form"
        )
    decoder = MultipartDecoder(boundary.encode(), max_parts=MAX_PARTS)
    decoder.receive_data(data)
    decoder.receive_data(None)
    found: list[Part] = []
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                found.append(_named(event))
            elif isinstance(event, Data) and event.more_data:
                raise ValueError("a part has no end")
            elif isinstance(event, Data):
                found[-1] = dataclasses.replace(found[-1], data=event.data)
    except RequestEntityTooLarge as error:
        raise RequestError(f"the form has more than {MAX_PARTS} parts", "invalid_form") from error
    except ValueError as error:
        raise RequestError(f"the body is no whole form with the boundary {boundary[:80]!r}", "invalid_form") from error
    return tuple(found)


def _named(event: Field | File) -> Part:
    if not event.name:
        raise RequestError("a part of the form has no name", "invalid_form")
    return Part(event.name, b"", event.filename if isinstance(event, File) else None)
