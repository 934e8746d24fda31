import base64
import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.serving import requested
from benchmarks.serving.clients import Asked, Group
from benchmarks.serving.contender import CONTENDERS, OURS, Contender
from benchmarks.serving.load import figures, rows


class Answers(BaseHTTPRequestHandler):
    """In turn: a good line, a short one, 503."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Answers.count += 1
        turn = Answers.count % 3
        text = "あ" * (document["tokens"] if turn == 1 else 1)
        self._answer(503 if turn == 0 else 200, json.dumps({"captions": [{"text": text}]}).encode())

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ping" else 404, b"\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Answers.count = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_clients_count_good_lines_apart_from_wrong_ones_and_refusals(port):
    body = json.dumps({"tokens": 5}).encode()
    found = Group(
        [body], port=port, path="/invocations", seconds=1, clients=2, tokens=[5], listed=False, headers={}
    ).result()
    assert set(found.errors) == {"wrong length", "503"}
    assert found.seconds
    assert len(found.seconds) + sum(found.errors.values()) == Answers.count
    assert abs(len(found.seconds) - found.errors["503"]) <= 1
    assert found.span >= 1


def test_clients_ask_for_lines_of_different_lengths_in_turn(port):
    bodies = [json.dumps({"tokens": tokens}).encode() for tokens in (3, 7)]
    good = {"path": "/invocations", "seconds": 0.5, "clients": 2, "listed": False, "headers": {}}
    errors = {}
    for tokens in ([3, 7], [7, 3]):
        found = Group(bodies, port=port, tokens=tokens, **good).result()
        errors[tokens[0]] = found.errors.get("wrong length", 0) / (len(found.seconds) + 1)
    assert errors[3] < errors[7]


def test_pings_are_asked_without_a_body(port):
    found = Group(port=port, path="/ping", seconds=0.5, clients=1).result()
    assert found.seconds
    assert not found.errors


def test_nobody_there_is_an_error_not_an_end():
    found = Group([b"{}"], port=1, path="/invocations", seconds=0.3, clients=1, tokens=[1], listed=False).result()
    assert found.seconds == []
    assert found.errors["no answer"] >= 1


def turns(count: int, span: float, errors: dict[str, int]) -> list[tuple[Asked, Asked]]:
    return [(Asked([0.1] * count, errors, span), Asked([0.002], {}, span))]


def test_turns_of_a_contender_are_counted_together():
    found = figures(turns(10, 2.0, {"503": 1}) + turns(30, 2.0, {"503": 2, "500": 1}))
    assert found["lines/s"] == 10
    assert found["p99 ms"] == 100
    assert found["errors"] == "1 × 500, 3 × 503"
    assert found["ping p50 ms"] == 2


def test_the_ratio_is_ours_over_theirs_at_the_same_number_of_clients():
    table = rows({(OURS, 4): turns(30, 1.0, {}), ("x", 4): turns(10, 1.0, {}), ("x", 1): turns(5, 1.0, {})})
    assert [(row["clients"], row["contender"], row["ratio"]) for row in table] == [
        (1, "x", None),
        (4, OURS, 1.0),
        (4, "x", 3.0),
    ]


def test_a_contender_without_a_line_has_no_ratio():
    table = rows({(OURS, 1): turns(30, 1.0, {}), ("x", 1): turns(0, 1.0, {"500": 3})})
    assert table[1]["ratio"] is None
    assert table[1]["p50 ms"] is None


@pytest.mark.parametrize("wanted", [20_000, 100_000, 1_000_000])
def test_a_picture_is_about_as_large_as_wanted_and_can_be_opened(wanted):
    data = requested.picture(wanted)
    assert abs(len(data) - wanted) <= 0.1 * wanted
    assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_each_contender_finds_the_line_in_its_own_answer():
    for contender in CONTENDERS.values():
        document = requested.document(b"picture", 7)
        sent = json.loads(contender.body(document))
        assert (sent["requests"][0] if contender.listed else sent) == document
        assert base64.b64decode(document["image"]) == b"picture"
        answer = ["line"] if contender.listed else {"captions": [{"text": "line"}]}
        assert contender.text(json.dumps(answer).encode()) == "line"


def test_a_contender_counts_as_installed_only_with_the_program_that_it_needs():
    assert Contender("x", Path(sys.executable), (), needs="sh").installed
    assert not Contender("x", Path(sys.executable), (), needs="no-such-program").installed
