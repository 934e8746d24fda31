"""An endpoint of SageMaker that is asked for lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from cli.answer import Answer, AnswerError, message, read_answer, request

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


@dataclass(frozen=True)
class Endpoint:
    """A serverless or real-time endpoint; one of the kind async answers through the API.

    Attributes:
        name: of the endpoint.
        timeout: of one answer, in seconds.
    """

    name: str
    timeout: float

    def ask(self, picture: bytes, parameters: dict[str, Any]) -> Answer:
        """The lines of a picture; raises AnswerError where it gets none from the endpoint."""
        try:
            answer = self._client.invoke_endpoint(
                EndpointName=self.name,
                Body=json.dumps(request(picture, parameters)).encode(),
                ContentType="application/json",
                Accept="application/json",
            )
            return read_answer(answer["Body"].read())
        except ClientError as error:
            detail = error.response["Error"]
            told = error.response.get("OriginalMessage")  # of ModelError: what the container said
            if told is None:
                raise AnswerError(f"endpoint {self.name}: {detail.get('Code')} ({detail.get('Message')})") from error
            raise AnswerError(f"endpoint {self.name}: {message(str(told))}") from error
        except (HTTPClientError, IncompleteReadError) as error:  # others may be answered
            raise AnswerError(f"endpoint {self.name} did not answer: {error}") from error

    @cached_property
    def _client(self) -> SageMakerRuntimeClient:
        config = Config(read_timeout=self.timeout, retries={"mode": "standard", "total_max_attempts": 5})
        return boto3.client("sagemaker-runtime", config=config)
