"""Routes and answers of the HTTP API: JSON, and errors that say what to do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ogiri_aws.api_request import ApiError
from ogiri_aws.captioning import ApiClients, Captioning, Reply

RETRY_AFTER_SECONDS = 5

_RESULT = re.compile(r"/results/([0-9A-Za-z-]{1,64})(/score)?")


def connect_api(budget_seconds: float) -> ApiClients:
    """Clients that give up by the end of the budget. `invoke` tries the endpoint again by itself."""
    once = Config(
        retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=budget_seconds, max_pool_connections=4
    )
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS") or 3)
    few = Config(
        retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=2, read_timeout=budget_seconds / 3
    )
    return ApiClients(
        boto3.client("sagemaker-runtime", config=once),
        boto3.client("dynamodb", config=few),
        boto3.client("s3", config=few),
        boto3.client("rekognition", config=few),
    )


def answered(captioning: Captioning, event: Mapping[str, Any], request_id: str, log: Logger) -> dict[str, Any]:
    """The answer to a request as API Gateway takes it. Nothing is raised: the caller gets an error in JSON."""
    try:
        status, body = _routed(captioning, event)
    except ApiError as error:
        status, body = _refused(error, request_id)
    except (ClientError, BotoCoreError) as error:
        log.exception("AWS did not do it")
        code = error.response["Error"].get("Code") if isinstance(error, ClientError) else type(error).__name__
        status, body = _refused(ApiError(502, "aws_failed", f"a service of AWS answered {code}: try again"), request_id)
    except Exception:
        log.exception("this is a bug")
        status, body = _refused(ApiError(500, "internal", "something went wrong here"), request_id)
    log.info("answered", extra={"route": event.get("routeKey") or event.get("rawPath"), "status": status})
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if status == 202:
        headers["Location"] = f"/results/{body['id']}"
    if status in (202, 429):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return {
        "statusCode": status,
        "headers": headers,
        "body": json.dumps(body, ensure_ascii=False),
        "isBase64Encoded": False,
    }


def _routed(captioning: Captioning, event: Mapping[str, Any]) -> Reply:
    method, path = _method_and_path(event)
    result = _RESULT.fullmatch(path)
    allowed = "POST" if path == "/captions" or (result and result[2]) else "GET"
    if path != "/captions" and result is None:
        raise ApiError(404, "not_found", f"there is no {path}: POST /captions, GET /results/ID, POST /results/ID/score")
    if method != allowed:
        raise ApiError(405, "method_not_allowed", f"{path} takes {allowed}, not {method}")
    if result is None:
        return captioning.create(event)
    return captioning.score(result[1], event) if result[2] else captioning.read(result[1])


def _method_and_path(event: Mapping[str, Any]) -> tuple[str, str]:
    context = event.get("requestContext") or {}
    method = (context.get("http") or {}).get("method", "")
    path = str(event.get("rawPath", ""))
    stage = str(context.get("stage", ""))
    if stage and stage != "$default":  # a stage with a name is in front of the path
        path = path.removeprefix(f"/{stage}")
    return method, path.rstrip("/") or "/"


def _refused(error: ApiError, request_id: str) -> Reply:
    return error.status, {"error": {"code": error.code, "message": str(error), "request_id": request_id}}
