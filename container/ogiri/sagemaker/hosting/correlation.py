"""The headers that tie an answer to its request: its id, and what the caller wants back unchanged."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Container
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import Headers

from ogiri.task import RequestError

REQUEST_ID = "X-Request-Id"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"  # what SageMaker calls the id of `invoke_endpoint(InferenceId=…)`
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

_USABLE_ID = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # as in nginx.conf


@dataclass
class Trace:
    """What the log will say about a request, for as long as its answer is being sent.

    Attributes:
        request_id: names it in the answer and in the log.
        started: when it came, on the monotonic clock.
        notes: further fields of its line in the log; `error` is the code of what it met.
        invoked: whether a model was to answer it.
    """

    request_id: str
    started: float
    notes: dict[str, object] = field(default_factory=dict)
    invoked: bool = False

    def milliseconds(self) -> int:
        """Since the request came."""
        return round((time.monotonic() - self.started) * 1000)


def request_id(headers: Headers) -> str:
    """The caller's id if it gave one that can be used (visible ASCII, no quote, no backslash), else a new one."""
    for name in (INFERENCE_ID, REQUEST_ID):
        if _USABLE_ID.fullmatch(given := headers.get(name, "")):
            return given
    return uuid.uuid4().hex


def custom_attributes(header: str, known: Container[str]) -> dict[str, str]:
    """Decode `name=value,…`, values percent-encoded UTF-8. What has no `=` is somebody else's and left out.

    Args:
        header: as WSGI hands it over, a character a byte.
        known: names whose value must be readable.

    Raises:
        RequestError: the value of a known name is not UTF-8.
    """
    attributes = {}
    for pair in header.split(","):
        name, found, value = pair.partition("=")
        if not found:
            continue
        try:
            attributes[name.strip()] = unquote_to_bytes(value.strip().encode("latin-1")).decode("utf-8")
        except UnicodeDecodeError as error:
            if name.strip() in known:
                raise RequestError(
                    f"{name.strip()} in {CUSTOM_ATTRIBUTES} is not percent-encoded UTF-8", "invalid_parameter"
                ) from error
    return attributes
