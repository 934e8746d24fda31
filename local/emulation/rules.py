"""Rules of EventBridge whose target is a function or a state machine; moto matches the patterns and knows others."""

from __future__ import annotations

import copy
import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.events.models import Rule
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from moto.utilities.arns import parse_arn

from local.emulation.invocations import invoke

OURS = ("lambda", "states")

_log = logging.getLogger(__name__)


def install(functions: str) -> None:
    """Let moto's rules deliver to them too.

    Args:
        functions: URL of what answers Invoke.
    """
    others = Rule.send_to_targets

    def send_to_targets(self: Any, event: Any, transform_input: bool = True) -> None:
        if self.state != "ENABLED" or not self.event_pattern.matches_event(event):
            return
        for target in self.targets:
            service = parse_arn(target["Arn"]).service
            if service in OURS:
                try:
                    _deliver(functions, target["Arn"], _as_sent(event))
                except Exception:  # as EventBridge: whoever sent the event hears nothing of it
                    _log.exception("rule %s, target %s", self.name, target["Arn"])
        rest = copy.copy(self)
        rest.targets = [target for target in self.targets if parse_arn(target["Arn"]).service not in OURS]
        others(rest, event, transform_input)

    Rule.send_to_targets = send_to_targets  # type: ignore[method-assign,assignment]


def _deliver(functions: str, arn: str, event: Any) -> None:
    place = parse_arn(arn)
    if place.service == "lambda":
        invoke(functions, f"/2015-03-31/functions/{place.resource_id}/invocations", json.dumps(event).encode(), "Event")
        return
    machines = stepfunctions_parser_backends[place.account][place.region]
    machines.start_execution(arn, execution_input=json.dumps(event, ensure_ascii=False))


def _as_sent(event: Any) -> dict[str, Any]:
    """An event with an id and a time: those of S3 share one id here, and their time is a number."""
    return {**event, "id": str(uuid.uuid4()), "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
