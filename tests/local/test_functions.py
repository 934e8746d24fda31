"""Lambda's Invoke in front of the real functions, by this Python and by AWS's own runtime."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.aws import EmbeddedAWS, embedded_aws
from local.functions.configuration import Configuration
from local.functions.instance import failed
from local.functions.runtime import Emulator, Processes
from local.functions.server import FunctionsServer, functions_server
from local.job import ROOT

EMULATOR = Emulator(ROOT / "build" / "tools")
SECONDS = 30


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws(table=None) as started:
        started.client("s3").put_object(
            Bucket=started.bucket, Key="uploads/rows.csv", Body=b"https://example.com/1.png,\xe7\x8a\xac\n"
        )
        yield started


@pytest.fixture(params=[Processes(), EMULATOR], ids=["processes", "emulator"])
def server(request: pytest.FixtureRequest, aws: EmbeddedAWS, tmp_path: Path) -> Iterator[FunctionsServer]:
    if request.param is EMULATOR and not EMULATOR.program.is_file():
        pytest.skip("the Runtime Interface Emulator is not installed: scripts/tools.sh")
    known = {"prepare": Configuration("prepare", "prepare.lambda_handler", {"BUCKET": aws.bucket}, 20, 512)}
    with functions_server(request.param, tmp_path) as started:
        started.functions.environment = aws.process_environment()
        started.functions.find = known.get
        started.known = known
        yield started


def invoke(server: FunctionsServer, event: dict, name: str = "prepare", kind: str = "RequestResponse") -> tuple:
    """Status, the error's header, the answer."""
    url = f"{server.url}/2015-03-31/functions/{name}/invocations"
    call = urllib.request.Request(url, json.dumps(event).encode(), {"X-Amz-Invocation-Type": kind})
    with urllib.request.urlopen(call, timeout=SECONDS) as answer:
        return answer.status, answer.headers.get("X-Amz-Function-Error"), json.loads(answer.read() or b"null")


def upload(aws: EmbeddedAWS) -> dict:
    return {"execution": "first", "upload": {"bucket": aws.bucket, "key": "uploads/rows.csv"}}


def pids(server: FunctionsServer) -> set[int]:
    return {instance._process.pid for instance in server.functions._idle}


def test_a_warm_instance_answers_the_next_event(server: FunctionsServer, aws: EmbeddedAWS):
    status, error, answer = invoke(server, upload(aws))
    assert (status, error, answer["lines"]) == (200, None, 1)
    first = pids(server)
    assert invoke(server, upload(aws))[2] == answer
    assert pids(server) == first
    assert len(first) == 1


def test_what_a_function_raises_is_told_by_name(server: FunctionsServer):
    status, error, answer = invoke(server, {"execution": "x", "upload": {"bucket": "", "key": "a.csv"}})
    assert (status, error, answer["errorType"]) == (200, "Unhandled", "UploadError")
    assert "bucket" in answer["errorMessage"]


def test_another_configuration_gets_another_instance(server: FunctionsServer, aws: EmbeddedAWS):
    invoke(server, upload(aws))
    before = pids(server)
    server.known["prepare"] = Configuration("prepare", "prepare.lambda_handler", {}, 20, 512)
    _, error, answer = invoke(server, upload(aws))
    assert (error, answer["errorType"]) == ("Unhandled", "SettingsError")
    assert "BUCKET" in answer["errorMessage"]
    assert not pids(server) & before


def test_a_function_that_takes_too_long_is_ended(server: FunctionsServer, aws: EmbeddedAWS):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server.functions.environment = {**aws.process_environment(), "AWS_ENDPOINT_URL": url}
        server.known["prepare"] = Configuration("prepare", "prepare.lambda_handler", {"BUCKET": "b"}, 3, 512)
        _, error, answer = invoke(server, upload(aws))
    assert (error, answer["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert "3.00 seconds" in answer["errorMessage"]
    assert pids(server) == set()


def test_a_killed_instance_is_told_of_and_replaced(server: FunctionsServer, aws: EmbeddedAWS):
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server.functions.environment = {**aws.process_environment(), "AWS_ENDPOINT_URL": url}
        waiting = pool.submit(invoke, server, upload(aws))
        silent.accept()[0].close()  # it is in the middle of its work
        os.killpg(server.functions._busy[0]._process.pid, signal.SIGKILL)
        _, error, answer = waiting.result()
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    server.functions.environment = aws.process_environment()
    assert invoke(server, upload(aws))[1] is None


def test_an_event_that_nobody_waits_for_is_accepted_and_tried_again(server: FunctionsServer, tmp_path: Path):
    assert invoke(server, {}, kind="Event") == (202, None, None)
    log = tmp_path / "prepare.log"
    deadline = time.monotonic() + SECONDS
    while not log.is_file() or log.read_text().count("UploadError") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_unknown_function_is_not_found(server: FunctionsServer):
    with pytest.raises(urllib.error.HTTPError) as refused:
        invoke(server, {}, "nobody")
    with refused.value as answer:
        assert (answer.code, answer.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")


def test_an_answer_with_more_than_an_error_is_no_error():
    assert failed(b'{"errorType": "E", "errorMessage": "m", "requestId": "1", "stackTrace": []}')
    assert not failed(b'{"errorType": "E", "errorMessage": "m", "rows": 3}')
    assert not failed(b'"text"')
