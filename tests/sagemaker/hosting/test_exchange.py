from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ogiri.sagemaker.hosting.exchange import WINDOW, Exchange, answer_lines, lines
from ogiri.task import Answer, Body, Deadline, Payload, Piece, RequestError


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"\n", [b""]),
        (b"a\n\n", [b"a", b""]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"\r\n\n", [b"", b""]),
        (b"a\x0bb\x85c", [b"a\x0bb\x85c"]),
    ],
)
def test_lines_end_with_a_line_feed(data: bytes, expected: list[bytes]):
    assert list(lines(data)) == expected


class Watched:
    """A predictor whose requests are numbers; it knows which are parsed, begun and closed."""

    def __init__(self) -> None:
        self.parsed: list[int] = []
        self.begun: list[int] = []
        self.over: list[int] = []

    def parse(self, body: Body) -> Payload:
        numbers = tuple(int(text) for text in body.data.decode().split(","))
        self.parsed += numbers
        return Payload(numbers, lambda answers: Answer({"numbers": [answer.json for answer in answers]}, ""))

    def submit(self, request: Any, deadline: Deadline, cancelled: Callable[[], bool]) -> Any:
        self.begun.append(request)
        if request < 0:
            raise RequestError("negative")
        work = self._work(request)
        next(work)  # the work has begun
        return work

    def _work(self, request: Any) -> Iterator[Piece | Answer | None]:
        try:
            yield None
            if request == 13:
                raise RequestError("unlucky")
            yield Answer({"is": request}, "")
        finally:
            self.over.append(request)


def never() -> bool:
    return False


def ask(predictor: Watched, data: bytes, cancelled: Callable[[], bool] = never) -> Iterator[Answer | Exception]:
    return answer_lines(predictor, Body("application/jsonlines", data), Deadline.after(60), cancelled)  # type: ignore[arg-type]


def body(*numbers: object) -> bytes:
    return "\n".join(map(str, numbers)).encode()


def told(found: list[Answer | Exception]) -> list[Any]:
    return [str(each) if isinstance(each, Exception) else [one["is"] for one in each.json["numbers"]] for each in found]


def test_no_more_is_parsed_than_the_window_and_one_line():
    predictor = Watched()
    answers = ask(predictor, body(*range(100, 200)))
    next(answers)
    assert len(predictor.begun) <= WINDOW
    assert len(predictor.parsed) <= WINDOW + 1
    assert told([*answers]) == [[number] for number in range(101, 200)]


def test_several_requests_of_a_line_count_as_that_many():
    predictor = Watched()
    answers = ask(predictor, body("1,2,3,4,5,6,7,8,9,10", "11,12,14,15,16,17,18,19,20,21", 22))
    assert told([next(answers)]) == [list(range(1, 11))]
    assert max(predictor.begun) <= 21
    assert len(told([*answers])) == 2


def test_a_line_of_more_requests_than_the_window_is_answered():
    assert told([*ask(Watched(), body(",".join(map(str, range(100, 150))), 7))]) == [list(range(100, 150)), [7]]


def test_what_fails_in_a_line_is_told_in_its_place_whatever_fails():
    found = told([*ask(Watched(), body(1, -1, "x", 13, "1,13,2", "", 2))])
    assert [found[0], found[1], found[3], found[4], found[6]] == [[1], "negative", "unlucky", "unlucky", [2]]
    assert "invalid literal" in found[2]
    assert "blank" in found[5]


def test_who_no_longer_listens_ends_all_work():
    predictor = Watched()
    answers = ask(predictor, body(*range(100, 200)))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert sorted(predictor.over) == sorted(predictor.begun)


def test_a_caller_that_has_gone_is_no_error_of_a_line():
    predictor = Watched()
    with pytest.raises(RequestError, match="unlucky"):
        list(ask(predictor, body(13, *range(100, 200)), cancelled=lambda: bool(predictor.over)))
    assert sorted(predictor.over) == sorted(predictor.begun)


def test_nothing_is_parsed_for_a_caller_that_has_gone():
    predictor = Watched()
    with pytest.raises(RequestError, match="cancelled"):
        list(ask(predictor, body(1, 2), cancelled=lambda: True))
    assert predictor.parsed == []


def test_requests_beside_one_that_fails_are_given_up():
    predictor = Watched()
    exchange = Exchange(predictor, predictor.parse(Body("", b"1,13,2,3")), Deadline.after(60), never)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="unlucky"):
        exchange.answers()
    assert sorted(predictor.over) == [1, 2, 3, 13]


def test_requests_begun_before_one_that_cannot_begin_are_given_up():
    predictor = Watched()
    with pytest.raises(RequestError, match="negative"):
        Exchange(predictor, predictor.parse(Body("", b"1,2,-3,4")), Deadline.after(60), never)  # type: ignore[arg-type]
    assert predictor.over == [1, 2]
    assert predictor.begun == [1, 2, -3]
