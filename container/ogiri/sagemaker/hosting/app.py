"""The routes that SageMaker calls."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from flask import Flask, Response, g, request

from ogiri.sagemaker.hosting import correlation, errors
from ogiri.sagemaker.hosting.invocation import invoke
from ogiri.sagemaker.hosting.model import ModelHost
from ogiri.sagemaker.hosting.settings import TEXT, Settings
from ogiri.task import RequestError

DRAIN_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def create_app(settings: Settings, host: ModelHost) -> Flask:
    """The WSGI application that answers for the model of `host`, whether that is ready or not."""
    app = Flask("ogiri", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_payload_bytes
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(_finish)
    errors.register(app)
    free = threading.BoundedSemaphore(settings.max_concurrent_requests)

    @app.get("/ping")
    def ping() -> Response:
        host.predictor()
        return Response(status=200, mimetype=TEXT)

    @app.post("/invocations")
    def invocations() -> Response:
        # nginx keeps to this limit as well, but forgets a caller that has hung up before its thread is free again.
        if not free.acquire(blocking=False):
            raise RequestError(
                f"{settings.max_concurrent_requests} requests are being answered already: try again later",
                "overloaded",
                503,
            )
        try:
            return invoke(request, host.predictor(), settings)
        finally:
            free.release()

    return app


def _begin() -> None:
    g.started = time.monotonic()
    g.request_id = correlation.request_id(request.headers)


def _finish(response: Response) -> Response:
    # nginx takes a connection that is closed on an unread body for a failure, and drops the answer.
    while request.environ["wsgi.input"].read(DRAIN_BYTES):
        pass
    response.headers[correlation.REQUEST_ID] = g.request_id
    if attributes := request.headers.get(correlation.CUSTOM_ATTRIBUTES):
        response.headers[correlation.CUSTOM_ATTRIBUTES] = attributes
    if request.path != "/ping":
        response.call_on_close(partial(_log, response.status_code, _facts(response), g.started))
    return response


def _facts(response: Response) -> dict[str, object]:
    """What the log says about a request; nothing of its body."""
    facts = {
        "request_id": g.request_id,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "content_type": request.content_type,
        "request_bytes": request.content_length,
    }
    return facts if response.status_code < 400 else {**facts, "error": g.get("error_code")}


def _log(status: int, facts: dict[str, object], started: float) -> None:
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    facts["milliseconds"] = round((time.monotonic() - started) * 1000)
    logger.log(level, "%s %s: %d", facts["method"], facts["path"], status, extra={"fields": facts})
