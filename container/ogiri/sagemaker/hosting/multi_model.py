"""The routes of a multi-model endpoint.

The contract is at https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flask import Flask, Response, g, request

from ogiri.sagemaker.hosting.models import Model, Models
from ogiri.sagemaker.hosting.settings import JSON, Settings
from ogiri.task import Predictor, RequestError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/models/"
PAGE_SIZE = 100

MAX_CHANGES = 16
"""Models that are loaded, waiting for that, or unloaded at a time; each takes a thread."""

SECONDS_BEYOND_DEADLINE = 4  # a predictor sees its deadline between two steps
MAX_UNLOAD_SECONDS = 300  # below the time for which nginx waits


def register(
    app: Flask, models: Models, settings: Settings, answer: Callable[[Callable[[], Predictor]], Response]
) -> None:
    """Add the routes to `app`.

    Args:
        app: the application.
        models: what is loaded.
        settings: for the time that a request may take.
        answer: answers the current request with the predictor that it is given, within the server's limits.
    """
    app.wsgi_app = _encoded_names(app.wsgi_app)  # type: ignore[assignment, method-assign]
    free = threading.BoundedSemaphore(MAX_CHANGES)
    unload_seconds = min(settings.timeout_seconds + SECONDS_BEYOND_DEADLINE, MAX_UNLOAD_SECONDS)

    def change(action: Callable[[], Model]) -> Response:
        if not free.acquire(blocking=False):
            message = f"{MAX_CHANGES} models are being loaded or unloaded already: try again later"
            raise RequestError(message, "overloaded", 503)
        try:
            return _respond(_described(action()))
        finally:
            free.release()

    @app.post("/models")
    def load() -> Response:
        name, url = _model_and_url(request.get_data(cache=False))
        g.trace.notes["model"] = name
        return change(lambda: models.load(name, url))

    @app.get("/models")
    def page() -> Response:
        found = models.page(request.args.get("next_page_token", ""), PAGE_SIZE + 1)
        document: dict[str, Any] = {"models": [_described(model) for model in found[:PAGE_SIZE]]}
        if len(found) > PAGE_SIZE:
            document["nextPageToken"] = found[PAGE_SIZE - 1].name
        return _respond(document)

    @app.get("/models/<encoded>")
    def describe(encoded: str) -> Response:
        return _respond(_described(models.get(_decoded(encoded))))

    @app.delete("/models/<encoded>")
    def unload(encoded: str) -> Response:
        name = _decoded(encoded)
        return change(lambda: models.unload(name, unload_seconds))

    @app.post("/models/<encoded>/invoke")
    def invoke(encoded: str) -> Response:
        lease = models.lease(_decoded(encoded))
        try:
            response = answer(lambda: lease.predictor)
        except BaseException:
            lease.release()
            raise
        if response.is_streamed:
            response.call_on_close(lease.release)
        else:
            lease.release()
        return response

    @app.post("/invocations")
    def invocations() -> Response:
        message = "this endpoint has several models: one that is loaded answers at /models/NAME/invoke"
        raise RequestError(message, "not_found", 404)


def _encoded_names(application: WSGIApplication) -> WSGIApplication:
    """Keep paths as they were sent: a name may have a slash, which gunicorn has decoded in PATH_INFO."""

    def with_path_as_sent(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("RAW_URI", "").partition("?")[0]
        if path.startswith(PREFIX):
            environ["PATH_INFO"] = path
        return application(environ, start_response)

    return with_path_as_sent


def _decoded(encoded: str) -> str:
    name = unquote(encoded)
    g.trace.notes["model"] = name
    return name


def _model_and_url(body: bytes) -> tuple[str, str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", "invalid_json") from error
    if not isinstance(document, dict):
        raise RequestError('the body must be a JSON object, {"model_name": "…", "url": "…"}')
    return _text(document, "model_name"), _text(document, "url")


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise RequestError(f"{key} is {json.dumps(value)[:80]}: it must be a string that is not empty")
    return value


def _described(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": model.url}


def _respond(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), mimetype=JSON)
