"""The Lambdas called in this process, by themselves and in the order of the state machine."""

from __future__ import annotations

import importlib.util
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import boto3

from local.aws import REGION
from local.job import ROOT
from local.sagemaker.shelf import ACCOUNT

FOLDER = ROOT / "lambda" / "functions"
TIMEOUT_SECONDS = 900.0
BATCH = 50  # pictures, as the state machine hands them on

Event = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str
    memory_limit_in_mb: int = 1024
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = field(default_factory=lambda: time.monotonic() + TIMEOUT_SECONDS)

    @property
    def invoked_function_arn(self) -> str:
        """Of nobody's account."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Until the function would be ended."""
        return max(0, int(1000 * (self.deadline - time.monotonic())))


def call(name: str, event: Event) -> Event:
    """The answer of a function; both go through JSON, and settings come from this process's environment.

    Raises:
        Whatever the function raises.
    """
    spec = importlib.util.spec_from_file_location(f"functions_{name}", FOLDER / f"{name}.py")
    assert spec is not None  # noqa: S101  it is a Python file
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: Event = json.loads(json.dumps(module.lambda_handler(json.loads(json.dumps(event)), Context(name))))
    return answer


def run_state_machine(upload: Event, execution: str) -> Event:
    """`prepare`, `ingest` for each batch, `start_training`; returns what the last one says.

    Args:
        upload: EventBridge's "Object Created", or `{"bucket", "key"}`.
        execution: its name.
    """
    state = call("prepare", {"execution": execution, "upload": upload})
    body = boto3.client("s3").get_object(Bucket=state["bucket"], Key=state["key"])["Body"].read()
    items = json.loads(body)
    for first in range(0, len(items), BATCH):
        batch = {"Items": items[first : first + BATCH], "BatchInput": {"execution": state["execution"]}}
        while batch.get("unfinished", 1):
            batch = call("ingest", batch)
    return call("start_training", {"execution": state["execution"], "upload": state["upload"]})


def end_training(event: Event) -> None:
    """What EventBridge's rule calls when a training job changes; SageMaker tells of its start too."""
    call("end_training", event)
