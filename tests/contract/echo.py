"""A task that takes no time to load, so that tests of `serve` are about `serve`.

The body `{"text": "…"}` comes back; further keys make the request slow, send it piece by piece or let it fail.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
    content_types = ("application/json", "text/plain", "image/png", "multipart/form-data")
    parameters = Parameters

    def __init__(self, decoding: dict[str, Any] | None = None) -> None:
        self._decoding = decoding or {}
        self._lock = threading.Lock()
        self._running = self._most = self._given_up = self._answered = 0

    def parse(self, body: Body) -> Payload:
        known = {name: value for name, value in body.attributes.items() if name in ("times", "suffix")}
        try:
            parameters = from_strings(Parameters, known)
        except ParameterError as error:
            raise RequestError(str(error), "invalid_parameter") from error
        if body.content_type == "multipart/form-data":
            fields = [f"{part.name}:{part.filename}:{len(part.data)}" for part in body.parts]
            return Payload(({"text": " ".join(fields)},), lambda answers: answers[0])
        if body.content_type != "application/json":
            return Payload(({"text": f"{len(body.data)} bytes"},), lambda answers: answers[0])
        try:
            request = json.loads(body.data)
        except ValueError as error:
            raise RequestError(f"the body is not JSON: {error}", "invalid_json") from error
        if "instances" in request:
            return Payload(tuple(request["instances"]), _predictions)
        request["text"] = request.get("text", "") * parameters.times + parameters.suffix
        return Payload((request,), lambda answers: answers[0], request.get("stream", False) or body.stream)

    def submit(self, request: Any, deadline: Deadline, cancelled: Callable[[], bool]) -> Work:
        return Work(lambda given_up: self._parts(request, deadline, lambda: cancelled() or given_up()))

    def _parts(self, request: Any, deadline: Deadline, gone: Callable[[], bool]) -> Iterator[Piece | Answer]:
        if request.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        with self._lock:
            self._running += 1
            self._most = max(self._most, self._running)
        answers = []
        try:
            for part in self._pieces(request, deadline, gone):
                if isinstance(part, Answer):
                    answers.append(part)
                else:
                    yield part
        finally:
            with self._lock:
                self._running -= 1
                self._given_up += gone()
                self._answered += len(answers)
        yield from answers  # counted as done before anybody knows

    def _pieces(self, request: Any, deadline: Deadline, gone: Callable[[], bool]) -> Iterator[Piece | Answer]:
        text = request.get("text", "")
        for piece in request.get("pieces", [text]):
            self._wait(request.get("seconds", 0), deadline, gone)
            if gone():
                return
            yield Piece(piece)
        if "message" in request:
            raise RequestError(request["message"], "refused", request.get("status", 400))
        if request.get("bug"):
            raise ValueError("a bug")
        counts = self._counts() if request.get("count") else {}
        whole = "".join(request.get("pieces", [text]))
        yield Answer({"captions": [{"text": whole, "score": -0.5}], "model": self.name, **counts}, whole)

    def _counts(self) -> Mapping[str, int]:
        """Requests that run now, that ran at a time at most, that were given up before they were done."""
        return {"running": self._running, "most": self._most, "given_up": self._given_up}

    def _wait(self, seconds: float, deadline: Deadline, gone: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not gone():
            if deadline.remaining_seconds() < 0:
                raise RequestError("the deadline has passed", "deadline_exceeded", 504)
            time.sleep(0.005)

    def warm_up(self) -> None:
        time.sleep(self._decoding.get("warm_up_seconds", 0))
        awaited, end = self._decoding.get("warm_up_until"), time.monotonic() + 60
        while awaited and not os.path.exists(awaited) and time.monotonic() < end:
            time.sleep(0.01)
        if self._decoding.get("warm_up_kills"):
            os.kill(os.getpid(), signal.SIGKILL)

    def statistics(self) -> Mapping[str, float]:
        return {"steps": self._answered, "rows": self._answered, "tokens": self._answered}

    def memory_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Work:
    """A request that a thread of its own works at; closing it makes the thread give up."""

    def __init__(self, parts: Callable[[Callable[[], bool]], Iterator[Piece | Answer]]) -> None:
        self._closed = threading.Event()
        self._made: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(parts,), daemon=True).start()

    def _run(self, parts: Callable[[Callable[[], bool]], Iterator[Piece | Answer]]) -> None:
        try:
            for part in parts(self._closed.is_set):
                self._made.put(part)
            self._made.put(StopIteration())
        except Exception as error:
            self._made.put(error)

    def __iter__(self) -> Work:
        return self

    def __next__(self) -> Piece | Answer:
        made = self._made.get()
        if isinstance(made, Exception):
            raise made
        return made

    def close(self) -> None:
        self._closed.set()


def _predictions(answers: list[Answer]) -> Answer:
    return Answer({"predictions": [answer.json for answer in answers]}, "\n".join(answer.text for answer in answers))


def load(artifact: Any) -> Echo:
    return Echo(artifact.manifest["decoding"])
