"""InvokeEndpointAsync: the request lies in S3, and so will the answer, or why there is none.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointAsync.html
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.sagemaker.refusal import Refusal
from local.sagemaker.runtime import ASYNCHRONOUS, ATTRIBUTES, Reply, Runtime
from local.sagemaker.storage import Address, address

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "X-Amzn-SageMaker-"
ANSWER_SECONDS = 900.0
LONGEST_SECONDS = 3600.0
INPUT_BYTES = 1024**3
AT_A_TIME = 4  # where the endpoint's ClientConfig says nothing

_log = logging.getLogger(__name__)


class Asynchronous:
    """Calls that wait in a queue of their own."""

    def __init__(self, runtime: Runtime, s3: Callable[[], S3Client]) -> None:
        self._runtime, self._s3 = runtime, s3
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def invoke(self, name: str, headers: Message) -> Reply:
        """Take a call; it is answered later.

        Args:
            name: of the endpoint, as it stands in the address.
            headers: of the call, which say where its body lies.

        Raises:
            Refusal: `ValidationError`: nothing of that name, an endpoint that is not asynchronous, or bad input.
        """
        output = self._runtime.settings(name).get(ASYNCHRONOUS)
        if output is None:
            message = f"Endpoint {unquote(name)} has no AsyncInferenceConfig: InvokeEndpoint is for it."
            raise Refusal("ValidationError", message)
        source, seconds = _source(headers), _seconds(headers)
        config, identity = output["OutputConfig"], str(uuid.uuid4())
        answer = address(config.get("S3OutputPath", "")) / f"{identity}.out"
        failure = address(config["S3FailurePath"]) / f"{identity}-error.out" if "S3FailurePath" in config else None
        forwarded = {own: headers[PREFIX + own] for own in ("Content-Type", "Accept") if PREFIX + own in headers}
        forwarded |= {own: headers[own] for own in (ATTRIBUTES, PREFIX + "Inference-Id") if own in headers}
        self._pool(name, output).submit(self._answer, name, source, forwarded, seconds, answer, failure)
        told = {PREFIX + "OutputLocation": str(answer), "Content-Type": "application/json"}
        if failure is not None:
            told[PREFIX + "FailureLocation"] = str(failure)
        known = headers.get(PREFIX + "Inference-Id", identity)
        return Reply(told, json.dumps({"InferenceId": known}).encode())

    def close(self) -> None:
        """Begin no call any more; those under way end with their servers."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _pool(self, name: str, config: Mapping[str, Any]) -> ThreadPoolExecutor:
        count = config.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", AT_A_TIME)
        return self._pools.setdefault(name, ThreadPoolExecutor(count, f"asynchronous {name}"))

    def _answer(
        self,
        name: str,
        source: Address,
        headers: Mapping[str, str],
        seconds: float,
        answer: Address,
        failure: Address | None,
    ) -> None:
        try:
            s3 = self._s3()
            body = s3.get_object(Bucket=source.bucket, Key=source.key)["Body"].read(INPUT_BYTES)
            reply = self._runtime.ask(name, headers, body, seconds)
            s3.put_object(
                Bucket=answer.bucket, Key=answer.key, Body=reply.body, ContentType=reply.headers["Content-Type"]
            )
        except Exception as error:  # nobody waits for this call, so nobody else would hear of it
            _log.warning("endpoint %s: %s: %s", unquote(name), source, error)
            if failure is not None:
                self._s3().put_object(Bucket=failure.bucket, Key=failure.key, Body=str(error).encode())


def _source(headers: Message) -> Address:
    try:
        return address(headers.get(PREFIX + "InputLocation", ""))
    except Refusal as error:
        raise Refusal("ValidationError", f"InputLocation: {error}") from error


def _seconds(headers: Message) -> float:
    text = headers.get(PREFIX + "InvocationTimeoutSeconds", str(ANSWER_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise Refusal("ValidationError", f"InvocationTimeoutSeconds is {text}: it must be 1 to {LONGEST_SECONDS:g}")
    return seconds
