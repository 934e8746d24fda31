"""What SageMaker relies on and no other module asks: sockets, headers, limits, the end."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.server import SERVE, Reply, Server, Starter, wait_until, write_echo
from tests.contract.test_caption import picture, post
from tests.contract.test_multi_model import write_caption
from tests.contract.test_serve import connections, runs
from tests.contract.test_stream import opened

MEGABYTE = 2**20
VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))
JSON = {"Content-Type": "application/json"}
PNG = {"Content-Type": "image/png"}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
GRACE_SECONDS, KILL_SECONDS = 25, 30  # SIGKILL comes so long after SIGTERM
STREAM_SECONDS = 8 * 60


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as executor:
        yield executor


@dataclass(frozen=True)
class LateEnd:
    """What came of SIGTERM during a request that takes too long."""

    exit_code: int
    seconds: float
    answer: Reply | BaseException
    left_over: list[int]


@pytest.fixture(scope="module")
def late_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[LateEnd]]:
    """Begins with the first test: it takes 25 s, in which the others need not wait."""
    starter = Starter(tmp_path_factory)
    server = starter.echo()
    server.descendants()

    def end() -> LateEnd:
        running = executor.submit(server.invoke, {"text": "a", "seconds": 50})
        wait_until(lambda: connections(server), "the request has arrived")
        began = time.monotonic()
        code = server.stop()
        seconds = time.monotonic() - began
        return LateEnd(code, seconds, running.exception() or running.result(), server.left_over())

    with ThreadPoolExecutor(2) as executor:
        yield executor.submit(end)
    starter.stop()


# --- the start


@pytest.mark.usefixtures("late_end")
def test_serve_is_a_command_that_leaves_the_model_folder_as_it_was(start: Starter, tmp_path: Path):
    model = write_caption(tmp_path / "model")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.rglob("*")}
    path = os.pathsep.join([str(SERVE.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    server = start(tmp_path, {"PATH": path}, prefix=("sh", "-c", "cd / && exec serve", "sh"))
    server.wait_for_ping(200)
    assert post(server, picture(), "image/png").status == 200
    assert server.stop() == 0
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.rglob("*")} == before


@pytest.mark.skipif(not runs("unshare", "--net", "true"), reason="needs the right to make a network of its own")
def test_listens_at_8080_and_nowhere_else(start: Starter, tmp_path: Path):
    variables = {"SAGEMAKER_BIND_TO_PORT": "", "SAGEMAKER_SAFE_PORT_RANGE": "25000-25999"}
    server = start(write_echo(tmp_path), variables, prefix=("unshare", "--net"))
    server.wait_for_log("ready")
    assert listening(server) == {8080}


def listening(server: Server) -> set[int]:
    """The ports of its network on which somebody listens."""
    tables = [Path(f"/proc/{server.nginx()}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for path in tables if path.exists() for line in path.read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def test_answers_at_the_port_it_is_told(start: Starter):
    server = start.echo()
    assert f"listen {server.port} " in next(server.temporary.glob("*/nginx.conf")).read_text()
    assert server.ping() == 200


def test_the_deadline_of_an_endpoint_is_below_what_its_caller_waits(start: Starter):
    server = start.echo()
    configuration = next(server.temporary.glob("*/nginx.conf")).read_text()
    assert "proxy_read_timeout 59s" in configuration  # the application's deadline is 4 s shorter
    assert STREAM_SECONDS > 59


@pytest.mark.parametrize("level", ["error", "ERROR", "40"])
def test_the_log_has_nothing_below_its_level(start: Starter, tmp_path: Path, level: str):
    server = start(write_echo(tmp_path), {"SAGEMAKER_CONTAINER_LOG_LEVEL": level})
    server.wait_for_ping(200)
    assert server.invoke({"text": "a"}).status == 200
    assert server.invoke({"text": None}).status == 500
    assert server.stop() == 0
    assert {entry["level"] for entry in server.log()} == {"error"}


# --- sockets and load


def test_a_socket_is_accepted_within_250_milliseconds_whatever_the_server_is_doing(start: Starter):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="2")
    worker = server.worker()
    unfinished = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1234"
    with contextlib.ExitStack() as stack:
        for number in range(200):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            caller.sendall(unfinished if number % 2 else unfinished[:30])
        os.kill(worker, signal.SIGSTOP)
        stack.callback(os.kill, worker, signal.SIGCONT)
        for _ in range(50):
            socket.create_connection(("127.0.0.1", server.port), timeout=0.25).close()
    server.wait_for_ping(200)


def test_callers_beyond_the_limit_are_answered_or_told_to_come_back(start: Starter, pool: ThreadPoolExecutor):
    server = start.echo(OGIRI_MAX_CONCURRENT_REQUESTS="4")
    content = {"text": "a", "seconds": 0.05}
    replies = list(pool.map(lambda _: server.invoke(content), range(200)))
    refused = [reply for reply in replies if reply.status != 200]
    assert 0 < len(refused) < len(replies)
    assert {(reply.status, reply.headers["Retry-After"], reply.error()["code"]) for reply in refused} == {
        (503, "1", "overloaded")
    }


def test_a_slow_request_is_not_taken_for_a_worker_that_hangs(start: Starter):
    server = start.echo(ECHO_HUNG_SECONDS="2")
    worker = server.worker()
    assert server.invoke({"text": "a", "seconds": 5}).status == 200
    assert server.worker() == worker


def test_every_piece_of_a_stream_comes_when_it_is_written(echo: Server):
    with opened(
        echo, {"pieces": list("abcd"), "seconds": 0.4, "stream": True}, Accept="application/jsonlines"
    ) as reply:
        came = [time.monotonic() for _ in iter(reply.readline, b"")]
    assert len(came) == 5  # the answer comes right behind the last piece
    assert all(later - earlier > 0.2 for earlier, later in itertools.pairwise(came[:4]))


# --- the end


def test_what_takes_longer_than_25_seconds_is_cut_off_before_sigkill_comes(late_end: Future[LateEnd]):
    end = late_end.result()
    assert end.exit_code == 0
    assert GRACE_SECONDS - 1 < end.seconds < KILL_SECONDS
    assert isinstance(end.answer, OSError)  # nothing that could be taken for an answer
    assert end.left_over == []


def test_sigterm_under_load_gives_whole_answers_or_none(start: Starter, pool: ThreadPoolExecutor):
    server = start.echo()
    answered = threading.Event()

    def call_until_refused(caller: int) -> dict[str, Reply]:
        found: dict[str, Reply] = {}
        while True:
            name = f"load-{caller}-{len(found)}"
            try:
                found[name] = server.invoke({"text": "犬" * 5000, "seconds": 0.05}, **{"X-Request-Id": name})
            except ConnectionError:
                return found
            answered.set()

    callers = [pool.submit(call_until_refused, number) for number in range(8)]
    assert answered.wait(10)
    assert server.stop() == 0
    replies = {name: reply for caller in callers for name, reply in caller.result(10).items()}
    assert {reply.status for reply in replies.values()} == {200}
    assert {reply.json()["captions"][0]["text"] for reply in replies.values()} == {"犬" * 5000}
    begun = {str(entry["request_id"]) for entry in server.log() if "request_id" in entry}
    assert {name for name in begun if name.startswith("load-")} <= replies.keys()  # none was cut off


def test_a_connection_that_is_kept_open_does_not_hold_up_the_end(start: Starter):
    server = start.echo()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle:
        idle.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        assert idle.recv(65536) == b""


# --- headers


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [("POST", b'{"text": "a"}', 200), ("POST", b"{", 400), ("TRACE", b"", 405), ("POST", bytes(27 * MEGABYTE), 413)],
)
def test_all_of_1024_visible_characters_come_back(echo: Server, method: str, body: bytes, status: int):
    attributes = (VISIBLE * 11)[:1024]
    reply = echo.request(method, "/invocations", body, {**JSON, ATTRIBUTES: attributes})
    assert (reply.status, reply.headers[ATTRIBUTES]) == (status, attributes)


def test_a_header_as_long_as_the_server_takes_comes_back_too(echo: Server):
    attributes = "a" * 8000
    reply = echo.invoke({"text": "a"}, **{ATTRIBUTES: attributes})
    assert (reply.status, reply.headers[ATTRIBUTES]) == (200, attributes)


def test_there_is_no_such_header_where_the_caller_sent_none(echo: Server):
    assert ATTRIBUTES not in echo.invoke({"text": "a"}).headers
    assert ATTRIBUTES not in echo.request("TRACE", "/invocations").headers


UNKNOWN = {
    "Accept-Charset": "utf-16",
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "ja",
    "Authorization": "AWS4-HMAC-SHA256 Credential=a",
    "Cookie": "a=b",
    "Forwarded": "for=1.2.3.4;proto=https",
    "If-Match": '"a"',
    "If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT",
    "If-None-Match": "*",
    "Origin": "https://example.com",
    "Prefer": "respond-async",
    "Range": "bytes=0-3",
    "Script-Name": "/elsewhere",
    "Upgrade": "h2c",
    "X-Accel-Redirect": "/ping",
    "X-Amzn-SageMaker-Session-Id": "NEW_SESSION",
    "X-Amzn-SageMaker-Target-Container-Hostname": "other",
    "X-Amzn-SageMaker-Target-Model": "other.tar.gz",
    "X-Amzn-SageMaker-Target-Variant": "other",
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Proto": "https",
    "X-HTTP-Method-Override": "DELETE",
    "X-Original-URL": "/ping",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_header_that_it_does_not_know_changes_nothing(echo: Server, name: str):
    expected, reply = echo.invoke({"text": "犬"}), echo.invoke({"text": "犬"}, **{name: UNKNOWN[name]})
    assert (reply.status, reply.body) == (200, expected.body)
    assert set(reply.headers) == set(expected.headers)


def test_a_caller_that_asks_first_may_send_its_body(echo: Server):
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    answer = echo.raw(head + b'Connection: close\r\nContent-Length: 13\r\n\r\n{"text": "a"}')
    assert b"HTTP/1.1 100 Continue" in answer
    assert b"HTTP/1.1 200 OK" in answer


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        ("application/json;q=0.5, text/plain;q=0.6", "text/plain"),
        ("text/plain;q=0.5, application/json;q=0.6", "application/json"),
        ("application/json;q=0, */*;q=0.1", "text/plain"),
        ("text/plain;q=0.001, image/png", "text/plain"),
        ("application/jsonlines;q=0.9, application/json;q=0.8", "application/jsonlines"),
        ("TEXT/PLAIN", "text/plain"),
        ("text/*", "text/plain"),
        ("", "application/json"),
    ],
)
def test_accept_is_weighed(echo: Server, accept: str, found: str):
    reply = echo.invoke({"text": "犬"}, Accept=accept)
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, found)


@pytest.mark.parametrize("name", ["image/png; charset=utf-8", "IMAGE/PNG", "image/png;a=b;c=d", "application/x-image;"])
def test_parameters_of_a_pictures_content_type_are_ignored(captions: Server, name: str):
    assert post(captions, picture(), name).status == 200


# --- bodies


@pytest.mark.parametrize("megabytes", [4, 6, 25])
def test_a_body_as_large_as_each_kind_of_endpoint_sends_is_taken(echo: Server, megabytes: int):
    reply = echo.request("POST", "/invocations", bytes(megabytes * MEGABYTE), {**PNG, "Accept": "text/plain"})
    assert reply.body == b"%d bytes" % (megabytes * MEGABYTE)


LONG = "x" * 7000
LONG_INPUT = [
    (400, {**JSON, ATTRIBUTES: "a=b"}, json.dumps({LONG: 1})),
    (400, JSON, json.dumps({"image": "", "parameters": {LONG: 1}})),
    (400, JSON, json.dumps({"image": "", "parameters": {"num_candidates": LONG}})),
    (400, JSON, json.dumps({"image": "", "parameters": {"ranking": LONG}})),
    (400, JSON, json.dumps({"image": LONG})),
    (400, JSON, json.dumps({"image": "", "labels": [{"Name": 5, LONG: 1}]})),
    (400, JSON, json.dumps({"instances": [{LONG: 1}]})),
    (400, {**PNG, ATTRIBUTES: f"num_candidates={LONG}"}, "a"),
    (400, {"Content-Type": f"multipart/form-data; boundary={LONG}"}, "a"),
    (406, {**JSON, "Accept": LONG}, "{}"),
    (415, {"Content-Type": LONG}, "{}"),
]


@pytest.mark.parametrize(("status", "headers", "body"), LONG_INPUT, ids=range(len(LONG_INPUT)))
def test_no_error_is_longer_than_what_sagemaker_passes_on(
    captions: Server, status: int, headers: dict[str, str], body: str
):
    reply = captions.request("POST", "/invocations", body.encode(), {**headers, "X-Request-Id": "r" * 128})
    assert reply.status == status
    assert reply.error()["message"]  # and the body has 2,048 bytes at most
    assert reply.error()["request_id"] == "r" * 128


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"bug": True}, 500),
        ({"text": None}, 500),
        ({"instances": [{"text": "a"}, {"bug": True}]}, 500),
        ({"pieces": ["a"], "stream": True, "bug": True}, 200),
    ],
)
def test_no_answer_has_a_traceback(echo: Server, content: dict[str, Any], status: int):
    reply = echo.invoke(content)
    assert reply.status == status
    assert b"internal_error" in reply.body
    assert not [word for word in (b"Traceback", b".py", b"Error", b"a bug") if word in reply.body]


class Opened:
    """A folder is made where this is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._folder),)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-npy",
        "application/x-npz",
        "application/octet-stream",
        "application/python-pickle",
        "application/json",
        "application/jsonlines",
        "application/x-image",
        "image/png",
    ],
)
def test_no_pickle_in_a_body_is_ever_opened(captions: Server, tmp_path: Path, content_type: str):
    folder = tmp_path / "made"
    reply = post(captions, pickle.dumps(Opened(folder)), content_type)
    known = not content_type.startswith(("application/x-np", "application/octet", "application/python"))
    assert reply.status == ((200 if content_type == "application/jsonlines" else 400) if known else 415)
    assert b'"error"' in reply.body
    assert not folder.exists()
    pickle.loads(pickle.dumps(Opened(folder)))
    assert folder.exists()  # it would have been seen


@pytest.mark.parametrize("index", [0, 2])
def test_one_bad_member_of_instances_is_named_and_nothing_is_answered(captions: Server, index: int):
    good = {"image": base64.b64encode(picture()).decode()}
    instances: list[dict[str, Any]] = [good, good, good]
    instances[index] = {**good, "parameters": {"top_p": 7}}
    reply = captions.invoke({"instances": instances})
    assert (reply.status, reply.error()["code"]) == (400, "invalid_parameter")
    assert reply.error()["message"].startswith(f"instances[{index}]: top_p is 7")
