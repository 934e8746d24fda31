"""The application without its servers: what only it can show."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from ogiri.sagemaker.hosting.app import create_app
from ogiri.sagemaker.hosting.errors import error_body
from ogiri.sagemaker.hosting.model import ModelHost
from ogiri.sagemaker.hosting.settings import Settings
from ogiri.task import Answer, Payload
from tests.contract.echo import Echo


def client_of(predictor: Echo, **settings: Any) -> FlaskClient:
    host = ModelHost(lambda: predictor)
    host.load()
    return create_app(Settings(**settings), host).test_client()


def test_is_not_ready_before_the_warm_up_and_stays_so_if_it_fails():
    class Broken(Echo):
        def warm_up(self) -> None:
            raise ValueError("broken graph")

    host = ModelHost(Broken)
    client = create_app(Settings(), host).test_client()
    assert client.get("/ping").status_code == 503
    with pytest.raises(ValueError, match="broken graph"):
        host.load()
    reply = client.get("/ping")
    assert (reply.status_code, reply.json["error"]["code"], reply.headers["Retry-After"]) == (503, "loading", "1")


def test_ping_is_200_with_an_empty_body_when_ready():
    reply = client_of(Echo()).get("/ping")
    assert (reply.status_code, reply.data) == (200, b"")


def test_ping_is_503_while_the_model_stands_still(caplog: pytest.LogCaptureFixture):
    class Stuck(Echo):
        seconds = 59.0

        def stuck_seconds(self) -> float:
            return self.seconds

    echo = Stuck()
    client = client_of(echo)
    assert client.get("/ping").status_code == 200
    echo.seconds = 61.0
    reply = client.get("/ping")
    assert (reply.status_code, reply.json["error"]["code"]) == (503, "stuck")
    assert "for 61 s" in caplog.text
    echo.seconds = 0.0
    assert client.get("/ping").status_code == 200


def test_a_stream_without_a_length_is_read_up_to_the_limit():
    client = client_of(Echo(), max_payload_mb=1)
    for size, status in ((2**20, 200), (2**20 + 1, 413)):
        reply = client.post("/invocations", data=bytes(size), content_type="image/png")
        assert reply.status_code == status


def test_requests_are_answered_in_the_order_of_the_payload():
    class Twice(Echo):
        def parse(self, body: Any) -> Payload:
            requests = tuple({"text": text} for text in body.data.decode().split("|"))
            return Payload(
                requests, lambda answers: Answer({"predictions": [a.text for a in answers]}, answers[0].text)
            )

    reply = client_of(Twice()).post("/invocations", data="一|二|三", content_type="text/plain")
    assert reply.json == {"predictions": ["一", "二", "三"]}


def test_more_requests_than_allowed_are_refused_even_without_nginx():
    entered, leave = threading.Event(), threading.Event()

    class Slow(Echo):
        def parse(self, body: Any) -> Payload:
            entered.set()
            assert leave.wait(10)
            return super().parse(body)

    client = client_of(Slow(), max_concurrent_requests=1)
    statuses: list[int] = []

    def invoke() -> None:
        statuses.append(client.application.test_client().post("/invocations", json={"text": "a"}).status_code)

    running = threading.Thread(target=invoke)
    running.start()
    assert entered.wait(10)
    refused = client.post("/invocations", json={"text": "a"})
    assert client.get("/ping").status_code == 200
    leave.set()
    running.join(10)
    assert (refused.status_code, refused.json["error"]["code"], statuses) == (503, "overloaded", [200])
    assert client.post("/invocations", json={"text": "a"}).status_code == 200  # the place is free again


def test_a_stream_holds_its_place_until_it_is_closed_even_without_nginx():
    client = client_of(Echo(), max_concurrent_requests=1)
    stream = client.post("/invocations", json={"pieces": ["a", "b"], "stream": True})
    assert next(stream.iter_encoded()) == b'data: {"text": "a"}\n\n'
    other = client.application.test_client()
    assert other.post("/invocations", json={"text": "a"}).status_code == 503
    stream.close()
    assert other.post("/invocations", json={"text": "a"}).status_code == 200


def test_an_answer_that_is_no_json_is_an_internal_error():
    class NotANumber(Echo):
        def submit(self, *_: Any) -> Any:
            yield Answer({"score": float("nan")}, "a")

    reply = client_of(NotANumber()).post("/invocations", json={"text": "a"})
    assert (reply.status_code, reply.json["error"]["code"]) == (500, "internal_error")


def test_a_predictor_that_gives_no_answer_is_503():
    class Silent(Echo):
        def submit(self, *_: Any) -> Any:
            yield from ()

    assert client_of(Silent()).post("/invocations", json={"text": "a"}).status_code == 503


@pytest.mark.parametrize("message", ["", "short", "\x00" * 5000, "犬" * 5000, "😀" * 2048, "\ud800" * 3000, '"' * 4096])
def test_the_body_of_an_error_fits_into_what_sagemaker_passes_on(message: str):
    body = error_body("code", message, "r" * 128)
    assert len(body) <= 2048
    error = json.loads(body)["error"]
    assert error["request_id"] == "r" * 128
    assert len(error["message"]) >= min(len(message), 100)
