"""Batch transform, asynchronous inference, inference pipelines, and what users of other containers set."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.contract.server import Server, Starter, write_echo

MEGABYTE = 2**20


def execution_parameters(server: Server) -> Any:
    reply = server.request("GET", "/execution-parameters")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return reply.json()


@pytest.mark.parametrize(
    ("environ", "megabytes", "requests"),
    [
        ({}, 25, 4),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, 6, 16),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"}, 100, 1),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1024"}, 100, 1),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1", "OGIRI_MAX_CONCURRENT_REQUESTS": "3"}, 1, 3),
    ],
)
def test_execution_parameters_are_what_the_server_takes(
    start: Starter, environ: dict[str, str], megabytes: int, requests: int
):
    found = execution_parameters(start.echo(**environ))
    expected = {"MaxConcurrentTransforms": requests, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": megabytes}
    assert found == expected


@pytest.mark.parametrize("spelling", ["true", "True", "1"])
def test_a_record_of_a_batch_may_take_longer_than_a_caller_of_an_endpoint_waits(start: Starter, spelling: str):
    server = start.echo(SAGEMAKER_BATCH=spelling)
    assert "proxy_read_timeout 3599s" in next(server.temporary.glob("*/nginx.conf")).read_text()
    assert server.invoke({"text": "a"}).status == 200


def test_a_batch_is_answered_line_by_line(start: Starter):
    server = start.echo(SAGEMAKER_BATCH="True", SAGEMAKER_MAX_PAYLOAD_IN_MB="6")
    body = b"".join(b'{"text": "%d"}\n' % number if number % 100 else b"bad\n" for number in range(5000))
    reply = server.request("POST", "/invocations", body, {"Content-Type": "application/jsonlines", "Accept": "*/*"})
    found = [json.loads(line) for line in reply.body.splitlines()]
    assert len(found) == 5000
    for number, each in enumerate(found):
        assert (each["captions"][0]["text"] == str(number)) if number % 100 else (each["error"]["code"])


def test_a_body_of_an_asynchronous_request_may_be_larger_than_that_of_a_batch(start: Starter):
    server = start.echo(SAGEMAKER_MAX_PAYLOAD_IN_MB="200")
    reply = server.request(
        "POST", "/invocations", bytes(150 * MEGABYTE), {"Content-Type": "image/png", "Accept": "text/plain"}
    )
    assert reply.body == b"157286400 bytes"


@pytest.mark.parametrize("start_of_body", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("name", ["application/json; charset=utf-8", "application/json;charset=UTF-8; odd=1"])
def test_the_json_of_another_container_is_a_request(echo: Server, name: str, start_of_body: str):
    body = (start_of_body + '{"text": "犬"}').encode()
    reply = echo.request("POST", "/invocations", body, {"Content-Type": name, "Accept": "*/*"})
    assert reply.json()["captions"][0]["text"] == "犬"


# --- variables that users know


@pytest.mark.parametrize("name", ["SAGEMAKER_MODEL_SERVER_WORKERS", "MODEL_SERVER_WORKERS"])
def test_a_number_of_workers_is_one_warning_and_one_process(start: Starter, name: str):
    server = start.echo(**{name: "4"})
    entry = server.wait_for_log(f"{name} is '4' and changes nothing")
    assert entry["level"] == "warning"
    time.sleep(0.3)  # gunicorn waits up to 0.1 s before it starts another worker
    assert len(server.descendants()) == 4  # nginx and gunicorn, and a worker of each


def test_one_worker_is_no_warning(start: Starter):
    server = start.echo(SAGEMAKER_MODEL_SERVER_WORKERS="1", SAGEMAKER_SAFE_PORT_RANGE="25000-25999")
    assert [entry for entry in server.log() if entry["level"] != "info"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_SAFE_PORT_RANGE", "9000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "9000-8000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "1-70000"),
        ("SAGEMAKER_BATCH", "perhaps"),
        ("OGIRI_METRICS", "all"),
    ],
)
def test_a_bad_setting_ends_it_at_once(start: Starter, tmp_path: Any, name: str, value: str):
    server = start(write_echo(tmp_path), {name: value})
    assert server.exit_code() == 1
    (entry,) = server.log()
    assert name in entry["message"]
    assert repr(value) in entry["message"]
