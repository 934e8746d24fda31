"""A picture → lines from the endpoint, within a budget of time; cold and busy endpoints are asked again.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from ogiri_aws.api_request import ApiError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

PAUSES = (0.3, 0.7, 1.5, 3.0)  # seconds between tries; the last one repeats
_BUSY = ("ThrottlingException", "ModelNotReadyException", "TooManyRequestsException")
_BROKEN = ("ServiceUnavailable", "InternalFailure", "InternalDependencyException")
_CALLERS = {400: "bad_request", 413: "too_large", 415: "unsupported_type"}  # what the endpoint says of the request

T = TypeVar("T")


class Budget:
    """Seconds that an answer may take, all calls together."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Seconds left, 0 when they are over."""
        return max(0.0, self._deadline - time.monotonic())

    def run(self, call: Callable[[], T]) -> T:
        """The result of a call.

        Raises:
            ApiError: 504, it takes longer than is left. The call itself goes on until its client gives it up.
        """
        pool = ThreadPoolExecutor(1)
        try:
            return pool.submit(call).result(timeout=self.left())
        except TimeoutError as error:
            raise self.over() from error
        finally:
            pool.shutdown(wait=False)

    def over(self) -> ApiError:
        """The error for a budget that is over."""
        return ApiError(504, "timeout", f"there was no answer within {self._seconds:.0f} s: try again")


def invoke(client: SageMakerRuntimeClient, endpoint: str, request: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """The endpoint's answer to a JSON request.

    Raises:
        ApiError: 400, 413, 415 as the endpoint says; 429 it is busy all the time; 502 it fails; 504 it is too slow.
    """
    body = json.dumps(request).encode()
    tries = 0
    while True:
        try:
            answer = budget.run(lambda: _invoked(client, endpoint, body))
            return _answer(answer)
        except ClientError as error:
            told = _told(error)
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            if told.status not in (429, 503) or budget.left() <= pause:
                raise _final(told) from error
            tries += 1
            time.sleep(pause)
        except ReadTimeoutError as error:
            raise budget.over() from error
        except BotoCoreError as error:
            raise ApiError(502, "endpoint_failed", f"the endpoint cannot be reached ({error})") from error


def _invoked(client: SageMakerRuntimeClient, endpoint: str, body: bytes) -> bytes:
    answer = client.invoke_endpoint(
        EndpointName=endpoint, Body=body, ContentType="application/json", Accept="application/json"
    )
    return answer["Body"].read()


def _answer(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(502, "endpoint_failed", "the endpoint's answer is no JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("captions"), list):
        raise ApiError(502, "endpoint_failed", "the endpoint's answer has no captions: is it one of a caption model?")
    return value


def _told(error: ClientError) -> ApiError:
    """What an error means for the caller; 429 and 503 are worth another try."""
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in _BUSY:
        return ApiError(429, "busy", "the endpoint has too many requests or is still starting: try again")
    if code in _BROKEN:
        return ApiError(503, "unavailable", "the endpoint is not available: try again")
    if code != "ModelError":
        return ApiError(502, "endpoint_failed", f"the endpoint cannot be used: {code} ({message})")
    status = int(error.response.get("OriginalStatusCode", 500))  # type: ignore[call-overload]  # of ModelError alone
    if status in _CALLERS:
        return ApiError(status, _CALLERS[status], _inner_message(error))
    if status in (429, 503, 507):
        return ApiError(429, "busy", "the model has too many requests: try again")
    return ApiError(502, "endpoint_failed", f"the model answered {status}: {_inner_message(error)}")


def _final(told: ApiError) -> ApiError:
    return ApiError(502, told.code, str(told)) if told.status == 503 else told


def _inner_message(error: ClientError) -> str:
    text = str(error.response.get("OriginalMessage", ""))
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return text[:300]
