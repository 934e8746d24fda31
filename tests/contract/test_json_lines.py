"""JSON lines, and the requests of one body side by side, through nginx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.server import Reply, Server, Starter, wait_until

MEGABYTE = 2**20
SECONDS = 0.3


def post(server: Server, body: bytes, content_type: str = "application/jsonlines", **headers: str) -> Reply:
    return server.request("POST", "/invocations", body, {"Content-Type": content_type, **headers})


def lines_of(reply: Reply) -> list[Any]:
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/jsonlines"
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.split(b"\n")[:-1]]


def texts(reply: Reply) -> list[str]:
    """The text of each line, `code: message` of an error."""
    return [text_of(line) for line in lines_of(reply)]


def text_of(line: Any) -> str:
    if "error" in line:
        assert list(line["error"]) == ["code", "message", "request_id"]
        return f"{line['error']['code']}: {line['error']['message']}"
    return str(line["captions"][0]["text"])


def line(text: str, **more: Any) -> bytes:
    return json.dumps({"text": text, **more}, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    "name",
    [
        "application/jsonlines",
        "application/x-jsonlines",
        "application/jsonl",
        "application/x-ndjson",
        "Application/JSONLines; charset=utf-8",
    ],
)
def test_every_line_is_answered_by_one_whatever_the_format_is_called(echo: Server, name: str):
    assert texts(post(echo, line("犬") + line("猫"), name)) == ["犬", "猫"]


@pytest.mark.parametrize(
    "body",
    [b'{"text": "a"}\n{"text": "b"}', b'{"text": "a"}\n{"text": "b"}\n', b'{"text": "a"}\r\n{"text": "b"}\r\n'],
)
def test_the_end_of_the_last_line_begins_no_other(echo: Server, body: bytes):
    assert texts(post(echo, body)) == ["a", "b"]


def test_only_a_line_feed_ends_a_line(echo: Server):
    body = '{"text": "a\u2028b\u0085c"}\n'.encode()
    assert texts(post(echo, body)) == ["a\u2028b\u0085c"]


def test_a_bad_line_is_an_error_in_its_place(echo: Server):
    body = b"\n" + line("a") + b'{"text": \n  \r\n[]\n' + line("b") + line("c", message="no", status=429) + b"\n"
    reply = post(echo, body, **{"X-Request-Id": "these-lines"})
    found = texts(reply)
    assert [found[1], found[5]] == ["a", "b"]
    blank, cut, spaces, no_object, refused, last = (found[number] for number in (0, 2, 3, 4, 6, 7))
    assert blank == spaces == last == "invalid_json: the line is blank: each holds a JSON object"
    assert cut.startswith("invalid_json: ")
    assert no_object == "internal_error: internal error: the container's log has the cause"
    assert refused == "refused: no"
    assert {each["error"]["request_id"] for each in lines_of(reply) if "error" in each} == {"these-lines"}
    entry = echo.wait_for_log(request_id="these-lines", status=200)
    assert (entry["lines"], entry["failed_lines"]) == (8, 6)
    assert "AttributeError" in echo.wait_for_log("a request failed", request_id="these-lines")["traceback"]


def test_a_bug_in_one_line_is_an_error_in_its_place_and_its_cause_in_the_log(echo: Server):
    reply = post(echo, line("a", bug=True) + line("b"), **{"X-Request-Id": "bug"})
    assert texts(reply) == ["internal_error: internal error: the container's log has the cause", "b"]
    assert "a bug" in echo.wait_for_log("failed", request_id="bug")["traceback"]


def test_a_line_that_wants_to_be_streamed_is_an_error(echo: Server):
    found = texts(post(echo, line("a", stream=True) + line("b")))
    assert found[0].startswith("invalid_parameter: stream is true")
    assert found[1] == "b"


def test_a_line_may_hold_several_requests(echo: Server):
    first, second = lines_of(post(echo, b'{"instances": [{"text": "a"}, {"text": "b"}]}\n' + line("c")))
    assert [each["captions"][0]["text"] for each in first["predictions"]] == ["a", "b"]
    assert second["captions"][0]["text"] == "c"


def test_as_json_the_lines_are_a_list_of_predictions(echo: Server):
    reply = post(echo, line("a") + b"{\n", Accept="application/json")
    assert reply.headers["Content-Type"] == "application/json"
    (predictions,) = reply.json().values()
    assert [text_of(each).partition(":")[0] for each in predictions] == ["a", "invalid_json"]


def test_as_text_each_line_is_the_best_one(echo: Server):
    reply = post(echo, line("a\nb") + b"{\n" + line("c"), Accept="text/plain")
    first, second, third, rest = reply.body.decode().split("\n")
    assert (first, third, rest) == ("a b", "c", "")
    assert json.loads(second)["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/x-ndjson", "image/png, application/jsonlines"])
def test_json_lines_come_back_unless_something_else_is_asked_for(echo: Server, accept: str):
    assert texts(post(echo, line("a"), Accept=accept)) == ["a"]


def test_lines_are_no_events(echo: Server):
    reply = post(echo, line("a"), Accept="text/event-stream")
    assert (reply.status, reply.error()["code"]) == (406, "not_acceptable")


def test_an_empty_body_is_400(echo: Server):
    reply = post(echo, b"")
    assert (reply.status, reply.error()["code"]) == (400, "empty_body")


def test_json_in_json_lines_out(echo: Server):
    instances = {"instances": [{"text": "a"}, {"text": "b"}]}
    assert texts(echo.invoke({"text": "a"}, Accept="application/jsonlines")) == ["a"]
    assert texts(echo.invoke(instances, Accept="application/jsonlines")) == ["a", "b"]


# --- side by side


def test_the_requests_of_a_body_are_answered_side_by_side_and_in_their_order(start: Starter):
    server = start.echo()
    requests = [{"text": str(number), "seconds": SECONDS * (1 + number % 2), "count": True} for number in range(40)]
    found = lines_of(post(server, b"\n".join(json.dumps(each).encode() for each in requests)))
    assert [each["captions"][0]["text"] for each in found] == [str(number) for number in range(40)]
    assert found[-1]["most"] == 16
    (found,) = server.invoke({"instances": requests}).json().values()
    assert [each["captions"][0]["text"] for each in found] == [str(number) for number in range(40)]
    assert found[-1]["most"] == 16


def test_one_bad_member_of_instances_gives_up_the_others(start: Starter):
    server = start.echo()
    requests = [{"text": "a", "message": "no"}, {"text": "b", "seconds": 30}, {"text": "c", "seconds": 30}]
    reply = server.invoke({"instances": requests})
    assert (reply.status, reply.error()["message"]) == (400, "no")
    wait_for_counts(server, running=1, given_up=2)


def wait_for_counts(server: Server, **expected: int) -> None:
    wait_until(
        lambda: expected.items() <= server.invoke({"text": "a", "count": True}).json().items(), f"{expected} hold"
    )


def test_lines_that_come_after_the_deadline_are_errors(start: Starter):
    server = start.echo(SAGEMAKER_MODEL_SERVER_TIMEOUT="1")
    found = texts(post(server, line("a") + line("b", seconds=30) * 20 + line("c")))
    assert found[0] == "a"
    assert [each.partition(":")[0] for each in found[1:]] == ["deadline_exceeded"] * 21


def test_a_body_of_100_megabytes_does_not_need_many_times_its_size(start: Starter):
    server = start.echo(SAGEMAKER_MAX_PAYLOAD_IN_MB="100")
    status = Path(f"/proc/{server.worker()}/status")
    before = peak_megabytes(status)
    one = line("a", padding="x" * (MEGABYTE - 100))
    assert texts(post(server, one * 99)) == ["a"] * 99
    assert peak_megabytes(status) - before < 2.6 * 100


def peak_megabytes(status: Path) -> float:
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
