"""A task that takes no time to load, so that tests of `serve` are about `serve`.

The body `{"text": "…"}` comes back; further keys make the request slow or let it fail.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ogiri.parameter import ParameterError, from_strings, parameter
from ogiri.task import Answer, Body, Deadline, Payload, Piece, RequestError


@dataclass(frozen=True)
class Parameters:
    times: int = parameter(1, "how often the text comes back", minimum=1, maximum=4)
    suffix: str = parameter("", "what is put behind it")


class Echo:
    name = "echo"
    content_types = ("application/json", "text/plain", "image/png")
    parameters = Parameters

    def __init__(self, decoding: dict[str, Any] | None = None) -> None:
        self._decoding = decoding or {}

    def parse(self, body: Body) -> Payload:
        known = {name: value for name, value in body.attributes.items() if name in ("times", "suffix")}
        try:
            parameters = from_strings(Parameters, known)
        except ParameterError as error:
            raise RequestError(str(error), "invalid_parameter") from error
        if body.content_type != "application/json":
            return Payload(({"text": f"{len(body.data)} bytes"},), lambda answers: answers[0])
        try:
            request = json.loads(body.data)
        except ValueError as error:
            raise RequestError(f"the body is not JSON: {error}", "invalid_json") from error
        request["text"] = request.get("text", "") * parameters.times + parameters.suffix
        return Payload((request,), lambda answers: answers[0])

    def submit(self, request: Any, deadline: Deadline, cancelled: Callable[[], bool]) -> Iterator[Piece | Answer]:
        if request.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "message" in request:
            raise RequestError(request["message"], "refused", request.get("status", 400))
        yield from self._wait(request.get("seconds", 0), deadline, cancelled)
        if cancelled():
            return
        text = request["text"]
        yield Piece(text)
        yield Answer({"captions": [{"text": text, "score": -0.5}], "model": self.name}, text)

    def _wait(self, seconds: float, deadline: Deadline, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not cancelled():
            if deadline.remaining_seconds() < 0:
                raise RequestError("the deadline has passed", "deadline_exceeded", 504)
            time.sleep(0.005)
            yield Piece("")

    def warm_up(self) -> None:
        time.sleep(self._decoding.get("warm_up_seconds", 0))
        if self._decoding.get("warm_up_kills"):
            os.kill(os.getpid(), signal.SIGKILL)

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


def load(artifact: Any) -> Echo:
    return Echo(artifact.manifest["decoding"])
