from __future__ import annotations

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ogiri.sagemaker.hosting.negotiation import FOR_ANY, FOR_LINES, FOR_OTHERS, FOR_STREAM, accepted, content_type
from ogiri.task import RequestError

JSON, TEXT = "application/json", "text/plain"


def request(**headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return EnvironBuilder(method="POST", headers=named).get_request()


@pytest.mark.parametrize("given", ["image/jpeg", "IMAGE/JPEG", "image/jpeg; q=1", " image/jpeg ;x=y;", "image/jpeg;"])
def test_the_content_type_is_without_parameters_and_in_lower_case(given: str):
    assert content_type(request(Content_Type=given), ("image/jpeg",)) == "image/jpeg"


@pytest.mark.parametrize("given", ["image/jpg", "image", "", "image/*", ", image/jpeg", "x" * 10_000])
def test_other_content_types_are_refused(given: str):
    with pytest.raises(RequestError, match="this model takes image/jpeg, text/csv") as refused:
        content_type(request(Content_Type=given), ("image/jpeg", "text/csv"))
    assert refused.value.status == 415
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("accept", "default", "expected"),
    [
        (None, JSON, JSON),
        (None, TEXT, TEXT),
        ("", TEXT, TEXT),
        ("*/*", JSON, JSON),
        ("*/*", TEXT, TEXT),
        ("application/json", TEXT, JSON),
        ("APPLICATION/JSON", TEXT, JSON),
        ("text/*", JSON, TEXT),
        ("text/plain;charset=utf-8", JSON, TEXT),
        ("text/plain;charset=utf-8;q=0.5, application/json;q=0.4", JSON, TEXT),
        ("text/plain;q=0.5, application/json;q=0.6", TEXT, JSON),
        ("text/plain, application/json", JSON, JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON, JSON),
        ("application/json;q=0, */*", JSON, TEXT),
        ("text/html, text/plain", JSON, TEXT),
    ],
)
def test_answers_with_what_the_caller_likes_best(accept: str | None, default: str, expected: str):
    headers = {} if accept is None else {"Accept": accept}
    assert accepted(request(**headers), FOR_ANY, default) == expected


@pytest.mark.parametrize(
    "accept", ["image/png", "application/json;q=0", "*/*;q=0", "nonsense", "*/json", ";;;", "x" * 9999]
)
def test_what_cannot_be_met_is_refused(accept: str):
    with pytest.raises(RequestError, match="answered with application/json, text/plain") as refused:
        accepted(request(Accept=accept), FOR_ANY)
    assert refused.value.status == 406
    assert len(str(refused.value)) < 200


EVENTS, LINES = "text/event-stream", "application/jsonlines"


@pytest.mark.parametrize(
    ("possible", "default", "accept", "expected"),
    [
        (FOR_LINES, None, None, LINES),
        (FOR_LINES, JSON, None, JSON),
        (FOR_LINES, EVENTS, None, LINES),
        (FOR_LINES, JSON, "application/x-ndjson", LINES),
        (FOR_STREAM, None, None, EVENTS),
        (FOR_STREAM, JSON, "*/*", EVENTS),
        (FOR_STREAM, LINES, "*/*", LINES),
        (FOR_STREAM, None, "application/json", JSON),
        (FOR_OTHERS, EVENTS, None, JSON),
        (FOR_OTHERS, None, "text/event-stream, text/plain;q=0.1", TEXT),
        (FOR_ANY, EVENTS, None, EVENTS),
        (FOR_ANY, None, "text/event-stream", EVENTS),
    ],
)
def test_what_a_request_can_be_answered_with_depends_on_its_kind(
    possible: tuple[str, ...], default: str | None, accept: str | None, expected: str
):
    assert accepted(request(**({} if accept is None else {"Accept": accept})), possible, default) == expected


@pytest.mark.parametrize("name", ["application/jsonlines", "application/x-jsonlines", "application/jsonl"])
def test_who_takes_json_takes_json_lines(name: str):
    assert content_type(request(Content_Type=name), (JSON,)) == LINES
    with pytest.raises(RequestError, match=r"this model takes image/jpeg$"):
        content_type(request(Content_Type=name), ("image/jpeg",))
