"""Bodies that cost much more than they weigh."""

from __future__ import annotations

import json

import pytest

from ogiri.sagemaker.hosting import exchange
from ogiri.sagemaker.hosting.errors import MAX_BODY_BYTES, error_body
from ogiri.sagemaker.hosting.exchange import answer_lines
from ogiri.task import Body, Deadline, RequestError

LINES = Body("application/jsonlines", b"\n" * 10)


def answers(gone: bool = False) -> list[object]:
    return list(answer_lines(None, LINES, Deadline.after(60), lambda: gone))  # type: ignore[arg-type]


def test_more_lines_than_may_be_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "MAX_LINES", 10)
    assert len(answers()) == 10
    monkeypatch.setattr(exchange, "MAX_LINES", 9)
    with pytest.raises(RequestError, match="more than 9 lines") as caught:
        answers()
    assert caught.value.status == 413


def test_lines_in_error_end_when_their_caller_has_gone():
    with pytest.raises(RequestError, match="cancelled"):
        answers(gone=True)


def test_a_message_of_megabytes_is_cut():
    body = error_body("code", "犬" * 5_000_000, "id")
    assert len(body) <= MAX_BODY_BYTES
    assert json.loads(body)["error"]["message"].endswith("犬…")
