"""An endpoint: its status, and the server that answers for it now."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.refusal import Refusal, invalid
from local.sagemaker.served_model import ServedModel
from local.sagemaker.shelf import ACCOUNT, Resource


@dataclass
class Endpoint(Resource):
    """An endpoint.

    Attributes:
        config: the configuration that is served, or that the first server is to serve.
        next_config: the one that it changes to.
        endpoint_status: `Creating`, `InService`, `Updating`, `Failed`.
        reason: why it failed, or why the last change did.
        settings: the configuration as it was when its server was started.
        served: the server; None before the first one.
        deleted: set when nobody wants it any more.
    """

    config: str = ""
    next_config: str = ""
    endpoint_status: str = "Creating"
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    served: ServedModel | None = None
    deleted: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def status(self) -> str:
        """As DescribeEndpoint says it."""
        return self.endpoint_status

    def begin_update(self, config: str) -> None:
        """Change to another configuration from now on.

        Raises:
            Refusal: it is being changed, or has failed.
        """
        with self.lock:
            if self.endpoint_status != "InService":
                state = "in-progress" if self.endpoint_status != "Failed" else "failed"
                raise invalid(f"Cannot update {state} endpoint {self.arn!r}.")
            self.endpoint_status, self.next_config, self.modified = "Updating", config, time.time()

    def switch(self, served: ServedModel, config: str, settings: dict[str, Any]) -> ServedModel | None:
        """Let the new server answer; returns the one that did, whose calls are still to be waited for."""
        with self.lock:
            before, self.served = self.served, served
            self.config, self.settings, self.next_config = config, settings, ""
            self.endpoint_status, self.reason, self.modified = "InService", "", time.time()
        return before

    def give_up(self, reason: str) -> None:
        """The new server does not answer: stay with the one there is, or fail."""
        with self.lock:
            self.endpoint_status = "Failed" if self.served is None else "InService"
            self.reason, self.next_config, self.modified = reason, "", time.time()

    @contextlib.contextmanager
    def call(self) -> Iterator[tuple[ServedModel, dict[str, Any]]]:
        """The server for one call, which it stays there for, and its configuration.

        Raises:
            Refusal: nothing is served.
        """
        with self.lock:
            served, settings = self.served, self.settings
            if served is None or self.deleted.is_set():
                message = f"Endpoint {self.name} of account {ACCOUNT} is {self.endpoint_status}: it is not InService."
                raise Refusal("ValidationError", message)
            served.enter()
        try:
            yield served, settings
        finally:
            served.leave()

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint."""
        with self.lock:
            described: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": self.config,
                "EndpointStatus": self.endpoint_status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            if self.reason:
                described["FailureReason"] = self.reason
            if self.served is not None:
                described["ProductionVariants"] = [_variant(self.served.variant)]
        return described


def _variant(variant: Any) -> dict[str, Any]:
    summary: dict[str, Any] = {"VariantName": variant["VariantName"]}
    if "ServerlessConfig" in variant:
        return summary | {"CurrentServerlessConfig": variant["ServerlessConfig"]}
    count = variant.get("InitialInstanceCount", 1)
    return summary | {"CurrentWeight": 1.0, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
