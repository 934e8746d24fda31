from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from flask import Response

from ogiri.sagemaker.hosting.correlation import Trace
from ogiri.sagemaker.hosting.stream import streamed
from ogiri.task import Answer, Piece, RequestError

EVENTS, LINES = "text/event-stream", "application/jsonlines"


class Parts:
    """A request under way that gives these parts and raises those that are errors."""

    def __init__(self, *parts: Piece | Answer | Exception) -> None:
        self._parts = list(parts)
        self.closed = False

    def __iter__(self) -> Iterator[Piece | Answer]:
        return self

    def __next__(self) -> Piece | Answer:
        if not self._parts:
            raise StopIteration
        part = self._parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part

    def close(self) -> None:
        self.closed = True


def trace() -> Trace:
    return Trace("the-id", 0.0)


def sent(response: Response) -> str:
    return b"".join(response.response).decode()  # type: ignore[arg-type]


def test_empty_pieces_are_not_sent():
    parts = Parts(Piece(""), Piece("犬"), Piece(""), Answer({"a": 1}, "犬"))
    assert sent(streamed(parts, LINES, trace())) == '{"text": "犬"}\n{"a": 1}\n'


def test_a_line_end_in_a_piece_ends_no_event():
    data = sent(streamed(Parts(Piece("a\n\nb"), Answer({}, "")), EVENTS, trace()))
    assert data == 'data: {"text": "a\\n\\nb"}\n\nevent: answer\ndata: {}\n\n'


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_whenever_the_response_is_closed_the_work_is_given_up(asked: int):
    parts = Parts(Piece("a"), Piece("b"), Answer({}, "ab"))
    response = streamed(parts, EVENTS, trace())
    chunks = iter(response.response)  # type: ignore[arg-type]
    for _ in range(asked):
        next(chunks)
    response.close()
    assert parts.closed


def test_a_failure_before_the_first_piece_is_raised_and_the_work_given_up():
    parts = Parts(Piece(""), RequestError("no"), Piece("a"))
    with pytest.raises(RequestError, match="no"):
        streamed(parts, EVENTS, trace())
    assert parts.closed


@pytest.mark.parametrize("parts", [(), (Piece(""),)])
def test_nothing_at_all_is_a_cancelled_request(parts: tuple[Piece, ...]):
    with pytest.raises(RequestError, match="cancelled") as refused:
        streamed(Parts(*parts), EVENTS, trace())
    assert refused.value.status == 503


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((RequestError("no", "refused"),), "refused"),
        ((ValueError("secret"),), "internal_error"),
        ((), "cancelled"),
        ((Answer({"score": float("nan")}, ""),), "internal_error"),
    ],
)
def test_a_failure_on_the_way_is_the_last_that_is_sent(parts: tuple[Answer | Exception, ...], code: str):
    noted = trace()
    *_, last = sent(streamed(Parts(Piece("a"), *parts), LINES, noted)).splitlines()
    error = json.loads(last)["error"]
    assert (error["code"], error["request_id"], noted.notes["error"]) == (code, "the-id", code)
    assert "secret" not in last


def test_a_caller_that_goes_away_is_noted():
    noted = trace()
    response = streamed(Parts(Piece("a"), Piece("b"), Answer({}, "ab")), EVENTS, noted)
    next(iter(response.response))  # type: ignore[arg-type]
    response.close()
    assert noted.notes["error"] == "cancelled"
