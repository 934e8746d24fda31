"""The requests of a body on their way through a predictor, side by side, answered in their order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ogiri.sagemaker.hosting.settings import JSON
from ogiri.task import Answer, Answering, Body, Deadline, Payload, Predictor, RequestError, drain, unanswered

WINDOW = 16
"""Requests of one body that are under way at a time: enough to fill a batch, and no more are held decoded."""

MAX_LINES = 1_000_000
"""JSON lines in one body. A blank line is one byte, but the error in its place is over a hundred."""


class Exchange:
    """A payload that is being answered; the work begins when it is made."""

    def __init__(
        self, predictor: Predictor, payload: Payload, deadline: Deadline, cancelled: Callable[[], bool]
    ) -> None:
        self.size = _size(payload)
        self._submit: Callable[[Any], Answering] = lambda wanted: predictor.submit(wanted, deadline, cancelled)
        self._assemble = payload.assemble
        self._waiting = iter(payload.requests)
        self._under_way: deque[Answering] = deque()
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def answer(self) -> Answer:
        """The answers as one; raises as `answers`."""
        return self._assemble(self.answers())

    def answers(self) -> list[Answer]:
        """The answers, in the order of the requests.

        Raises:
            RequestError: one request failed; the others are given up.
        """
        found = []
        try:
            while self._under_way:
                found.append(drain(self._under_way.popleft()))
                self._fill()
        finally:
            self.close()
        return found

    def close(self) -> None:
        """Give up what is not answered."""
        while self._under_way:
            self._under_way.popleft().close()

    def _fill(self) -> None:
        for request in itertools.islice(self._waiting, WINDOW - len(self._under_way)):
            self._under_way.append(self._submit(request))


def answer_lines(
    predictor: Predictor, body: Body, deadline: Deadline, cancelled: Callable[[], bool]
) -> Iterator[Answer | Exception]:
    """Answer JSON lines, each as if it were a body of its own: an answer or an error for every line, in their order.

    A line is parsed when there is room for it, so a body of many pictures is never held decoded.

    Raises:
        RequestError: the caller has gone (503), or there are more than MAX_LINES (413).
    """
    if body.data.count(b"\n") > MAX_LINES:
        raise RequestError(f"the body has more than {MAX_LINES:,} lines", "payload_too_large", 413)
    under_way: deque[Exchange | Exception] = deque()
    try:
        for line in lines(body.data):
            if cancelled():
                raise unanswered()
            parsed = _parsed(predictor, Body(JSON, line, body.attributes), deadline)
            while under_way and sum(map(_size, under_way)) + _size(parsed) > WINDOW:
                yield _ended(under_way.popleft(), cancelled)
            under_way.append(_begun(predictor, parsed, deadline, cancelled))
        while under_way:
            yield _ended(under_way.popleft(), cancelled)
    finally:
        for each in under_way:
            if isinstance(each, Exchange):
                each.close()


def lines(data: bytes) -> Iterator[bytes]:
    r"""The lines of a body, without `\n` or `\r\n`; the end of the last line begins no other."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end].removesuffix(b"\r")
        start = end + 1


def _parsed(predictor: Predictor, line: Body, deadline: Deadline) -> Payload | Exception:
    if deadline.remaining_seconds() <= 0:
        return RequestError("the lines before this one took as long as the request may", "deadline_exceeded", 504)
    if not line.data.strip():
        return RequestError("the line is blank: each holds a JSON object", "invalid_json")
    try:
        payload = predictor.parse(line)
    except Exception as error:
        return error
    if payload.stream:
        return RequestError("stream is true: only a request in a body of its own is streamed", "invalid_parameter")
    return payload


def _begun(
    predictor: Predictor, parsed: Payload | Exception, deadline: Deadline, cancelled: Callable[[], bool]
) -> Exchange | Exception:
    if isinstance(parsed, Exception):
        return parsed
    try:
        return Exchange(predictor, parsed, deadline, cancelled)
    except Exception as error:
        return error


def _ended(begun: Exchange | Exception, cancelled: Callable[[], bool]) -> Answer | Exception:
    if isinstance(begun, Exception):
        return begun
    try:
        return begun.answer()
    except Exception as error:
        if cancelled():
            raise
        return error


def _size(each: Payload | Exchange | Exception) -> int:
    if isinstance(each, Payload):
        return min(len(each.requests), WINDOW)
    return each.size if isinstance(each, Exchange) else 1
