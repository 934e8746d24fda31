"""Invoke of Lambda, handed on to where functions really run; moto would want a Docker engine for it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")
_PASSED_ON = ("Content-Type", "X-Amz-Function-Error", "x-amzn-ErrorType")
INVOCATION_TYPE = "X-Amz-Invocation-Type"


class Invocations:
    """A WSGI application around another.

    Args:
        application: answers everything else.
        functions: URL of what answers Invoke.
    """

    def __init__(self, application: WSGIApplication, functions: str) -> None:
        self._application = application
        self._functions = functions

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "POST" or _PATH.fullmatch(path) is None:
            return self._application(environ, start_response)
        event = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, body = invoke(
            self._functions, path, event, environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        )
        kept = [(name, headers[name]) for name in _PASSED_ON if name in headers]
        start_response(f"{status} {http.client.responses[status]}", [*kept, ("Content-Length", str(len(body)))])
        return [body]


def invoke(functions: str, path: str, event: bytes, kind: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a call; functions have their own time-outs, so it has none."""
    connection = http.client.HTTPConnection(urlsplit(functions).netloc)
    try:
        connection.request("POST", path, event, {INVOCATION_TYPE: kind, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
