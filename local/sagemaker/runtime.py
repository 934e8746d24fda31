"""The `sagemaker-runtime` API: a call → the model's own answer, or ModelError with what it said.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import unquote

from local.aws import REGION
from local.sagemaker import event_stream
from local.sagemaker.endpoint import Endpoint
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.refusal import Refusal
from local.sagemaker.served_model import ServedModel
from local.sagemaker.shelf import ACCOUNT

ANSWER_SECONDS = 60.0
STREAM_SECONDS = 480.0
PART_BYTES = 64 * 1024
PAYLOAD_BYTES = 6 * 1024**2  # the stricter of the two limits that AWS names for real-time endpoints
SERVERLESS_PAYLOAD_BYTES = 4 * 1024**2
ASYNCHRONOUS = "AsyncInferenceConfig"  # in the configuration of an endpoint of that kind
LONGEST_MESSAGE = 2048  # characters of the model's answer that an error repeats
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
VARIANT = "x-Amzn-Invoked-Production-Variant"
STREAM_TYPE, STREAM_ACCEPT = "X-Amzn-SageMaker-Content-Type", "X-Amzn-SageMaker-Accept"
_FORWARDED = ("Content-Type", "Accept", ATTRIBUTES, "X-Amzn-SageMaker-Inference-Id")


@dataclass(frozen=True)
class Reply:
    """What goes back to the caller."""

    headers: Mapping[str, str]
    body: bytes


class Runtime:
    """Calls of endpoints."""

    def __init__(self, endpoints: Endpoints, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._endpoints = endpoints
        self._answer_seconds = answer_seconds

    def invoke(self, name: str, headers: Message, body: bytes) -> Reply:
        """InvokeEndpoint.

        Args:
            name: of the endpoint, as it stands in the address.
            headers: of the call.
            body: for the model.

        Raises:
            Refusal: `ValidationError`, 413, or `ModelError` (424) with `OriginalStatusCode`.
        """
        with self._endpoint(unquote(name)).call() as (served, settings):
            _check(body, settings)
            return self._whole(served, _forwarded(headers), body, name, self._answer_seconds)

    def ask(self, name: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Reply:
        """The model's answer to a call of any size, within so many seconds.

        Raises:
            Refusal: as `invoke`.
        """
        with self._endpoint(unquote(name)).call() as (served, _):
            return self._whole(served, headers, body, name, seconds)

    def settings(self, name: str) -> Mapping[str, Any]:
        """The configuration that an endpoint serves; name: as it stands in the address.

        Raises:
            Refusal: `ValidationError`, there is no such endpoint, or it serves nothing.
        """
        with self._endpoint(unquote(name)).call() as (_, settings):
            return settings

    @contextlib.contextmanager
    def stream(self, name: str, headers: Message, body: bytes) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """InvokeEndpointWithResponseStream: headers, and the messages of the stream as the model's answer comes.

        Raises:
            Refusal: as `invoke`.
        """
        with self._endpoint(unquote(name)).call() as (served, settings):
            _check(body, settings)
            forwarded = _forwarded(headers)
            if (accept := headers.get(STREAM_ACCEPT)) is not None:
                forwarded["Accept"] = accept
            with self._asked(served, forwarded, body, name, self._answer_seconds) as answer:
                own = _own_headers(answer, served, STREAM_TYPE)
                yield {**own, "Content-Type": event_stream.CONTENT_TYPE}, _messages(answer)

    def _whole(self, served: ServedModel, headers: Mapping[str, str], body: bytes, name: str, seconds: float) -> Reply:
        with self._asked(served, headers, body, name, seconds) as answer:
            data = answer.read()
            return Reply(_own_headers(answer, served, "Content-Type"), data)

    @contextlib.contextmanager
    def _asked(
        self, served: ServedModel, headers: Mapping[str, str], body: bytes, name: str, seconds: float
    ) -> Iterator[http.client.HTTPResponse]:
        """The model's answer, which is still to be read."""
        try:
            with served.connection(seconds) as connection:
                connection.request("POST", "/invocations", body, dict(headers))
                answer = connection.getresponse()
                if answer.status != 200:
                    said = answer.read().decode("utf-8", errors="replace")
                    raise model_error(answer.status, said, unquote(name))
                yield answer
        except TimeoutError as error:
            message = "Your invocation timed out while waiting for a response from container primary."
            raise model_error(0, message, "") from error
        except (OSError, http.client.HTTPException) as error:
            raise model_error(0, f"the container did not answer: {error}", "") from error

    def _endpoint(self, name: str) -> Endpoint:
        try:
            return self._endpoints.endpoints.get(name)
        except Refusal as error:
            raise Refusal("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.") from error


def _forwarded(headers: Message) -> dict[str, str]:
    return {name: value for name in _FORWARDED if (value := headers.get(name)) is not None}


def _own_headers(answer: http.client.HTTPResponse, served: ServedModel, type_name: str) -> dict[str, str]:
    own = {type_name: answer.headers.get("Content-Type", "application/octet-stream")}
    if ATTRIBUTES in answer.headers:
        own[ATTRIBUTES] = answer.headers[ATTRIBUTES]
    return {**own, VARIANT: served.variant["VariantName"]}


def _messages(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """A part whenever something has come; a stream that breaks ends with an exception, as AWS's does."""
    deadline = time.monotonic() + STREAM_SECONDS
    try:
        while part := answer.read1(PART_BYTES):
            yield event_stream.payload_part(part)
            if time.monotonic() > deadline:
                yield event_stream.stream_error("ModelInvocationTimeExceeded", f"longer than {STREAM_SECONDS:g} s")
                return
    except (OSError, http.client.HTTPException) as error:
        code = "ModelInvocationTimeExceeded" if isinstance(error, TimeoutError) else "StreamBroken"
        yield event_stream.stream_error(code, f"the container did not end its answer: {error}")


def model_error(status: int, message: str, endpoint: str) -> Refusal:
    """What a caller is told of an answer that is not 200; status 0 is none at all."""
    message = message[:LONGEST_MESSAGE]
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    kind = "client" if 400 <= status < 500 else "server"
    whole = f'Received {kind} error ({status}) from primary with message "{message}". See {group} for more information.'
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    fields = {"OriginalStatusCode": status, "OriginalMessage": message, "LogStreamArn": arn}
    return Refusal("ModelError", whole, 424, fields)


def _check(body: bytes, settings: Mapping[str, Any]) -> None:
    if ASYNCHRONOUS in settings:
        raise Refusal("ValidationError", "The endpoint has an AsyncInferenceConfig: InvokeEndpointAsync is for it.")
    serverless = "ServerlessConfig" in settings["ProductionVariants"][0]
    limit = SERVERLESS_PAYLOAD_BYTES if serverless else PAYLOAD_BYTES
    if len(body) > limit:
        raise Refusal("413", f"Request Entity Too Large: {len(body)} bytes, this endpoint takes {limit}", 413)
