"""The API's three routes: a picture in, lines out; an answer by its id; stars for one of its lines."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)
from botocore.exceptions import BotoCoreError, ClientError

from ogiri_aws.api_request import ApiError, PictureRequest, idempotency_key, picture_request, score_request
from ogiri_aws.invocation import Budget, invoke
from ogiri_aws.pictures import PictureError
from ogiri_aws.rekognition import Detection, analyse
from ogiri_aws.results import CAPTIONED_PREFIX, REQUESTS_PREFIX, Results, public
from ogiri_aws.settings import CaptionSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

ANALYSIS_SHARE = 0.4  # of what is left of the budget; without an answer by then the lines are made without labels
RESERVE_SECONDS = 1.0  # of the function's own time, to keep the answer and to send it
REPEAT_SECONDS = 3600  # for so long a request with the same Idempotency-Key gets the same answer

_MISSING = ("NoSuchKey", "404", "403", "AccessDenied")  # without s3:ListBucket a missing object is a 403

log = Logger(service="caption_api", child=True)

Reply = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class ApiClients:
    """boto3's clients."""

    runtime: SageMakerRuntimeClient
    dynamodb: DynamoDBClient
    s3: S3Client
    rekognition: RekognitionClient


@dataclass(frozen=True)
class Captioning:
    """The routes. All of them raise `ApiError`, and return a status and a JSON object.

    Attributes:
        clients: of AWS.
        settings: of the function.
        context: of this call of the function.
    """

    clients: ApiClients
    settings: CaptionSettings
    context: LambdaContext

    def create(self, event: Mapping[str, Any]) -> Reply:
        """POST /captions: 200 with the lines, or 202 with the id of lines that are still to come."""
        seconds_left = self.context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
        budget = Budget(min(self.settings.caption_budget_seconds, seconds_left))
        request = picture_request(event)
        key = idempotency_key(event)
        if not key:
            return self._created(request, budget)
        digest = hashlib.sha256(request.picture + json.dumps(dict(request.parameters), sort_keys=True).encode())
        try:
            status, body = self._created_once(request, budget, {"key": key, "request": digest.hexdigest()})
        except IdempotencyAlreadyInProgressError as error:
            raise ApiError(409, "in_progress", f"the request with Idempotency-Key {key!r} is still answered") from error
        except IdempotencyValidationError as error:
            raise ApiError(409, "other_request", f"Idempotency-Key {key!r} came with another picture before") from error
        return status, body

    def read(self, key: str) -> Reply:
        """GET /results/{id}: 200, or 202 while it is still to come."""
        values = self._results().get(key)
        if values is None:
            raise _unknown(key)
        if values["Status"] == "pending":
            values = self._arrived(key, values)
        if values["Status"] == "failed":
            raise ApiError(502, "endpoint_failed", str(values["Message"]))
        return (202 if values["Status"] == "pending" else 200), public(key, values)

    def score(self, key: str, event: Mapping[str, Any]) -> Reply:
        """POST /results/{id}/score: 200 with the answer as it is now."""
        request = score_request(event)
        if not self._results().score(key, request.caption, request.stars):
            raise _unknown(key, request.caption)
        return self.read(key)

    def _created_once(self, request: PictureRequest, budget: Budget, identity: dict[str, str]) -> Reply:
        store = DynamoDBPersistenceLayer(
            self.settings.results_table_name,
            key_attr="ResultId",
            expiry_attr="ExpiresAt",
            status_attr="RepeatStatus",
            boto3_client=self.clients.dynamodb,
        )
        config = IdempotencyConfig(
            event_key_jmespath="key",
            payload_validation_jmespath="request",
            expires_after_seconds=REPEAT_SECONDS,
            hash_function="sha256",
            lambda_context=self.context,
        )

        def created(*, identity: dict[str, str]) -> list[Any]:  # noqa: ARG001 powertools reads it
            return list(self._created(request, budget))

        once = idempotent_function(
            created, data_keyword_argument="identity", persistence_store=store, config=config, key_prefix="captions"
        )
        status, body = once(identity=identity)
        return int(status), body

    def _created(self, request: PictureRequest, budget: Budget) -> Reply:
        key = str(uuid.uuid4())
        body, notices = self._endpoint_request(request, budget)
        if self.settings.endpoint_kind == "async":
            self._submit(key, request, body)
            return 202, {"id": key, "status": "pending"}
        answer = invoke(self.clients.runtime, self.settings.endpoint_name, body, budget)
        self._keep(request)
        self._results().put_done(key, answer, request.key)
        shown = {"id": key, "status": "done", "captions": answer["captions"], "model": answer.get("model", "")}
        return 200, shown | ({"notices": notices} if notices else {})

    def _endpoint_request(self, request: PictureRequest, budget: Budget) -> tuple[dict[str, Any], list[str]]:
        body: dict[str, Any] = {"image": base64.b64encode(request.picture).decode()}
        if request.parameters:
            body["parameters"] = dict(request.parameters)
        if not self.settings.caption_labels:
            return body, []
        try:
            labels, text = self._analysed(request.picture, budget)
        except (PictureError, ClientError, BotoCoreError, TimeoutError) as error:
            # Lines without labels are worse, none at all worse still; the caller is told.
            log.warning("labels are missing: %s: %s", type(error).__name__, error)
            return body, ["labels are missing: Rekognition did not answer"]
        body["labels"] = [{"Name": label.name, "Confidence": label.confidence} for label in labels]
        return body | ({"detected_text": text} if text else {}), []

    def _analysed(self, picture: bytes, budget: Budget) -> Any:
        detection = replace(Detection(), text=self.settings.rekognition_text)
        pool = ThreadPoolExecutor(1)
        try:
            future = pool.submit(analyse, self.clients.rekognition, picture, detection)
            return future.result(timeout=budget.left() * ANALYSIS_SHARE)
        finally:
            pool.shutdown(wait=False)

    def _keep(self, request: PictureRequest) -> None:
        if self.settings.keep_pictures:
            self.clients.s3.put_object(
                Bucket=self.settings.bucket,
                Key=CAPTIONED_PREFIX + request.key,
                Body=request.picture,
                ContentType=request.media_type,
            )

    def _submit(self, key: str, request: PictureRequest, body: Mapping[str, Any]) -> None:
        place = f"{REQUESTS_PREFIX}{key}.json"
        bucket = self.settings.bucket
        self.clients.s3.put_object(
            Bucket=bucket, Key=place, Body=json.dumps(body).encode(), ContentType="application/json"
        )
        answer = self.clients.runtime.invoke_endpoint_async(
            EndpointName=self.settings.endpoint_name,
            InputLocation=f"s3://{bucket}/{place}",
            ContentType="application/json",
            Accept="application/json",
            InferenceId=key,
        )
        self._keep(request)
        self._results().put_pending(key, answer["OutputLocation"], answer.get("FailureLocation", ""), request.key)

    def _arrived(self, key: str, values: dict[str, Any]) -> dict[str, Any]:
        """What became of a pending answer; the same values while nothing did."""
        results = self._results()
        output = self._object(values["OutputLocation"])
        failure = None if output is not None else self._object(values["FailureLocation"])
        if output is not None:
            results.put_done(key, json.loads(output), values.get("ImageKey", ""))
        elif failure is not None:
            results.put_failed(key, failure.decode(errors="replace")[:300], values.get("ImageKey", ""))
        else:
            return values
        return results.get(key) or values

    def _object(self, uri: str) -> bytes | None:
        if not uri:
            return None
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return self.clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"].get("Code") in _MISSING:
                return None
            raise

    def _results(self) -> Results:
        return Results(self.clients.dynamodb, self.settings.results_table_name, self.settings.result_days)


def _unknown(key: str, caption: int | None = None) -> ApiError:
    what = f"no answer {key!r}" if caption is None else f"no caption {caption} of an answer {key!r}"
    return ApiError(404, "not_found", f"there is {what}, or none any more")
