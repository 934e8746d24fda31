"""Answers that are sent while they are written, through nginx."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.server import Server, Starter, wait_until

PIECES = ["犬も", "歩けば", "🐕", "棒に"]
SLOW = {"pieces": ["x"] * 100, "seconds": 0.2, "stream": True}


@contextlib.contextmanager
def opened(server: Server, content: Any, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """A response whose body is still to be read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        body = json.dumps(content).encode()
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json", **headers})
        yield connection.getresponse()


def events(body: bytes) -> list[tuple[str, Any]]:
    """Name and data of each event; `message` is one without a name."""
    assert body.endswith(b"\n\n")
    found = []
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def test_each_piece_is_an_event_and_the_answer_comes_last(echo: Server):
    reply = echo.invoke({"pieces": PIECES, "stream": True}, **{"X-Request-Id": "streamed"})
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert (reply.headers["Transfer-Encoding"], reply.headers["Cache-Control"]) == ("chunked", "no-cache")
    assert reply.headers["X-Request-Id"] == "streamed"
    answer = {"captions": [{"text": "".join(PIECES), "score": -0.5}], "model": "echo"}
    assert events(reply.body) == [*(("message", {"text": piece}) for piece in PIECES), ("answer", answer)]


def test_as_json_lines_each_piece_is_a_line_and_the_answer_comes_last(echo: Server):
    reply = echo.invoke({"pieces": PIECES, "stream": True}, Accept="application/jsonlines")
    assert reply.headers["Content-Type"] == "application/jsonlines"
    *pieces, answer = [json.loads(line) for line in reply.body.decode().splitlines()]
    assert pieces == [{"text": piece} for piece in PIECES]
    assert answer["captions"][0]["text"] == "".join(PIECES)


def test_pieces_come_while_the_rest_is_still_being_written(echo: Server):
    with opened(echo, {"pieces": ["first", "second"], "seconds": 0.5, "stream": True}) as response:
        assert response.readline() == b'data: {"text": "first"}\n'
        began = time.monotonic()
        assert response.read().startswith(b'\ndata: {"text": "second"}\n\nevent: answer\n')
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("accept", ["text/event-stream", "text/event-stream, application/json;q=0.9, */*;q=0.8"])
def test_who_asks_for_events_need_not_ask_for_a_stream(echo: Server, accept: str):
    reply = echo.invoke({"pieces": PIECES}, Accept=accept)
    assert [name for name, _ in events(reply.body)] == ["message"] * len(PIECES) + ["answer"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream;q=0.6", "text/event-stream"),
        ("application/*", "application/jsonlines"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain"),
        ("text/plain, application/jsonlines;q=0.5", "text/plain"),
    ],
)
def test_accept_decides_what_a_stream_is_sent_as(echo: Server, accept: str, content_type: str):
    reply = echo.invoke({"pieces": PIECES, "stream": True}, Accept=accept)
    assert reply.headers["Content-Type"].partition(";")[0] == content_type
    if accept == "text/plain":
        assert reply.body.decode() == "".join(PIECES)
    if accept == "application/json":
        assert reply.json()["captions"][0]["text"] == "".join(PIECES)


@pytest.mark.parametrize("count", [1, 2])
def test_a_list_of_requests_is_not_streamed(echo: Server, count: int):
    reply = echo.invoke({"instances": [{"text": "a"}] * count}, Accept="text/event-stream")
    assert (reply.status, reply.error()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(("failure", "status"), [({"message": "no", "status": 429}, 429), ({"bug": True}, 500)])
def test_an_error_before_the_first_piece_has_its_status(echo: Server, failure: dict[str, Any], status: int):
    reply = echo.invoke({"pieces": ["", ""], "stream": True, **failure})
    assert reply.status == status
    assert reply.error()["code"] == {429: "refused", 500: "internal_error"}[status]


@pytest.mark.parametrize(
    ("failure", "code"), [({"message": "no", "status": 429}, "refused"), ({"bug": True}, "internal_error")]
)
@pytest.mark.parametrize("accept", ["text/event-stream", "application/jsonlines"])
def test_an_error_on_the_way_ends_the_stream_and_is_in_the_log(
    echo: Server, failure: dict[str, Any], code: str, accept: str
):
    request_id = f"{code}-{accept}"
    reply = echo.invoke({"pieces": ["a"], "stream": True, **failure}, Accept=accept, **{"X-Request-Id": request_id})
    assert reply.status == 200
    if accept == "text/event-stream":
        name, last = events(reply.body)[-1]
        assert name == "error"
    else:
        last = json.loads(reply.body.splitlines()[-1])
    assert (last["error"]["code"], last["error"]["request_id"]) == (code, request_id)
    entry = echo.wait_for_log(request_id=request_id, status=200, error=code)
    assert entry["level"] == "warning"


def test_the_log_says_when_the_first_piece_came_and_when_the_last(echo: Server):
    echo.invoke({"pieces": ["a", "b", "c"], "seconds": 0.2, "stream": True}, **{"X-Request-Id": "times"})
    entry = echo.wait_for_log(request_id="times", status=200)
    assert 200 <= entry["first_piece_milliseconds"] <= entry["milliseconds"] - 400


def test_the_deadline_of_a_stream_is_kept(start: Starter):
    server = start.echo(SAGEMAKER_MODEL_SERVER_TIMEOUT="1")
    name, last = events(server.invoke(SLOW).body)[-1]
    assert (name, last["error"]["code"]) == ("error", "deadline_exceeded")


def test_a_stream_holds_its_place_until_it_ends(start: Starter):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="1")
    with opened(server, {"pieces": ["a", "b"], "seconds": 0.7, "stream": True}) as response:
        assert response.readline() == b'data: {"text": "a"}\n'
        assert server.invoke({"text": "a"}).status == 503
        response.read()
    wait_until(lambda: server.invoke({"text": "a"}).status == 200, "its place is free", 5)


def test_a_caller_that_goes_away_frees_its_place_and_ends_the_work(start: Starter):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="1")
    with opened(server, SLOW, **{"X-Request-Id": "gone"}) as response:
        assert response.readline()
    wait_until(lambda: server.invoke({"text": "a"}).status == 200, "its place is free", 5)
    counts = server.invoke({"text": "a", "count": True}).json()
    assert (counts["running"], counts["given_up"]) == (1, 1)
    entry = server.wait_for_log(request_id="gone", status=200)
    assert (entry["level"], entry["error"]) == ("warning", "cancelled")
    assert entry["milliseconds"] < 15_000


def test_a_caller_that_goes_away_before_the_first_piece_frees_its_place_too(start: Starter):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="1")
    body = json.dumps({"pieces": ["a"], "seconds": 30, "stream": True})
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        head = "POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length:"
        caller.sendall(f"{head} {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: server.invoke({"text": "a"}).status == 503, "the only place is taken")
    wait_until(lambda: server.invoke({"text": "a"}).status == 200, "the place is free again", 5)


def test_a_caller_that_reads_slowly_loses_nothing(echo: Server):
    pieces = [str(number) * 1000 for number in range(3000)]  # more than all buffers on the way hold
    with opened(echo, {"pieces": pieces, "stream": True}) as response:
        time.sleep(0.5)
        found = events(response.read())
    assert [data.get("text") for _, data in found[:-1]] == pieces
    assert found[-1][0] == "answer"


def test_a_stream_is_finished_after_sigterm(start: Starter):
    server = start.echo()
    with opened(server, {"pieces": ["a", "b", "c"], "seconds": 0.6, "stream": True}) as response:
        assert response.readline() == b'data: {"text": "a"}\n'
        server.process.terminate()
        server.wait_for_ping(None)  # refused
        assert [name for name, _ in events(b"data: 0\n" + response.read())] == [
            "message",
            "message",
            "message",
            "answer",
        ]
    assert server.exit_code() == 0


def test_a_stream_that_would_take_longer_than_there_is_time_after_sigterm_is_cut_off(start: Starter):
    server = start.echo(ECHO_GRACE_SECONDS="1")
    server.descendants()
    with opened(server, SLOW) as response:
        assert response.readline()
        server.process.terminate()
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert server.exit_code() == 0
    assert server.left_over() == []
    server.wait_for_log("requests that still run after 1 s are cut off")
