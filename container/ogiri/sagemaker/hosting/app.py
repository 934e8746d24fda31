"""The routes that SageMaker calls."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, Response, g, request

from ogiri.sagemaker.hosting import correlation, errors, multi_model
from ogiri.sagemaker.hosting.correlation import Trace
from ogiri.sagemaker.hosting.invocation import invoke
from ogiri.sagemaker.hosting.metrics import NO_MODEL, Metrics
from ogiri.sagemaker.hosting.model import ModelHost
from ogiri.sagemaker.hosting.models import Models
from ogiri.sagemaker.hosting.places import Places
from ogiri.sagemaker.hosting.settings import JSON, TEXT, Settings
from ogiri.task import Predictor, RequestError, Watched

DRAIN_BYTES = 1 << 20
STUCK_SECONDS = 60.0  # far longer than any step takes

logger = logging.getLogger(__name__)


def create_app(settings: Settings, host: ModelHost | Models, metrics: Metrics | None = None) -> Flask:
    """The WSGI application that answers for the model of `host`, whether that is ready or not; or for many models."""
    app = Flask("ogiri", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_payload_bytes
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(lambda response: _finish(response, metrics))
    errors.register(app)
    places = Places(settings.max_concurrent_requests)

    def answer(predictor: Callable[[], Predictor]) -> Response:
        g.trace.invoked = True
        return places.answer(lambda: invoke(request, _noted(predictor(), metrics), settings))

    @app.get("/ping")
    def ping() -> Response:
        if isinstance(host, ModelHost):
            _see_that_it_works(host.predictor())
        return Response(status=200, mimetype=TEXT)

    @app.get("/execution-parameters")
    def execution_parameters() -> Response:
        return Response(json.dumps(_batch_transform(settings)), mimetype=JSON)

    if isinstance(host, Models):
        multi_model.register(app, host, settings, answer)
        return app

    @app.post("/invocations")
    def invocations() -> Response:
        return answer(host.predictor)

    return app


def _see_that_it_works(predictor: Predictor) -> None:
    """Raise `RequestError` (503) where the model stands still: SageMaker then replaces the container."""
    stuck = predictor.stuck_seconds() if isinstance(predictor, Watched) else 0.0
    if stuck > STUCK_SECONDS:
        logger.critical("the model has not gone on with its requests for %d s", stuck)
        raise RequestError(f"the model has not gone on with its requests for {stuck:.0f} s", "stuck", 503)


def _batch_transform(settings: Settings) -> dict[str, int | str]:
    """What a batch transform job does unless it is told otherwise."""
    return {
        "MaxConcurrentTransforms": settings.batch_requests,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": settings.batch_payload_mb,
    }


def _noted(predictor: Predictor, metrics: Metrics | None) -> Predictor:
    """The predictor, once log and metrics know what it is called."""
    name = g.trace.notes.setdefault("model", predictor.name)
    if metrics:
        metrics.watch(name, predictor)
    return predictor


def _begin() -> None:
    g.request_id = correlation.request_id(request.headers)
    g.trace = correlation.Trace(g.request_id, time.monotonic())


def _finish(response: Response, metrics: Metrics | None) -> Response:
    # nginx takes a connection that is closed on an unread body for a failure, and drops the answer.
    while request.environ["wsgi.input"].read(DRAIN_BYTES):
        pass
    response.headers[correlation.REQUEST_ID] = g.request_id
    if attributes := request.headers.get(correlation.CUSTOM_ATTRIBUTES):
        response.headers[correlation.CUSTOM_ATTRIBUTES] = attributes
    if request.path != "/ping":
        response.call_on_close(partial(_record, response.status_code, _facts(response), g.trace, metrics))
    return response


def _facts(response: Response) -> dict[str, object]:
    """What the log says about a request; nothing of its body."""
    return {
        "request_id": g.request_id,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "content_type": request.content_type,
        "request_bytes": request.content_length,
    }


def _record(status: int, facts: dict[str, object], trace: Trace, metrics: Metrics | None) -> None:
    """Say in the log, and in the metrics if it was for a model, how a request went."""
    failed = status >= 400 or "error" in trace.notes  # a stream may fail after its status
    level = logging.ERROR if status >= 500 else logging.WARNING if failed else logging.INFO
    milliseconds = trace.milliseconds()
    fields = {**facts, "milliseconds": milliseconds, **trace.notes}
    logger.log(level, "%s %s: %d", facts["method"], facts["path"], status, extra={"fields": fields})
    if metrics and trace.invoked:
        metrics.count(str(trace.notes.get("model", NO_MODEL)), status, failed=failed, milliseconds=milliseconds)
