"""What EventBridge is told of training jobs, and who hears it.

https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from local.aws import REGION
from local.sagemaker.shelf import ACCOUNT

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
ANSWER_SECONDS = 900.0  # the longest that a function may take

_log = logging.getLogger(__name__)

Event = dict[str, Any]
Target = Callable[[Event], object]


def training_job_event(described: Mapping[str, Any]) -> Event:
    """The event of a job that has changed, from what DescribeTrainingJob says; its times are milliseconds."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [described["TrainingJobArn"]],
        "detail": {name: _milliseconds(name, value) for name, value in described.items()},
    }


def post_to(url: str) -> Target:
    """A target that gets events as JSON by POST."""

    def target(event: Event) -> None:
        body = json.dumps(event).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  the user's own
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()  # noqa: S310

    return target


def put_to(events: Any) -> Target:
    """A target that is EventBridge.

    Args:
        events: client.
    """

    def target(event: Event) -> None:
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Resources": event["resources"]}
        answer = events.put_events(Entries=[{**entry, "Detail": json.dumps(event["detail"])}])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"EventBridge refused the event: {answer['Entries']}")

    return target


class Bus:
    """Hands events to targets, one after the other and in order, as EventBridge does to a function of concurrency 1."""

    def __init__(self, targets: Sequence[Target] = ()) -> None:
        self._targets = tuple(targets)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="events")

    def send(self, event: Event) -> Future[None]:
        """Deliver it soon."""
        return self._pool.submit(self._deliver, event)

    def close(self) -> None:
        """Deliver what has been sent."""
        self._pool.shutdown(wait=True)

    def _deliver(self, event: Event) -> None:
        for target in self._targets:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    target(event)
                    break
                except Exception:
                    _log.exception("event %s, try %d of %d", event["id"], attempt, ATTEMPTS)
                    time.sleep(PAUSE_SECONDS)


def _milliseconds(name: str, value: Any) -> Any:
    if isinstance(value, float) and name.endswith("Time"):
        return int(1000 * value)
    if isinstance(value, Mapping):
        return {key: _milliseconds(key, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_milliseconds(name, inner) for inner in value]
    return value
