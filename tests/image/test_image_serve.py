"""`serve` in a container with as little as SageMaker gives it, and less."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.contract.server import Server
from tests.contract.training import Training, drawn
from tests.image.engine import Engine

Serve = Callable[..., Server]


def caption(server: Server, path: str = "/invocations") -> str:
    reply = server.request("POST", path, drawn(3), {"Content-Type": "image/png"})
    assert reply.status == 200, reply.body
    return str(reply.json()["captions"][0]["text"])


def mounted(job: Training) -> list[str]:
    return ["-v", f"{job.base}:/opt/ml:ro"]


def test_nothing_to_write_to_no_shared_memory_and_a_gigabyte_are_enough(
    engine: Engine, serve: Serve, trained: Training
):
    server = serve(*engine.read_only(), "--memory", "1g", *mounted(trained))
    server.wait_for_ping(200)
    assert caption(server)


def test_a_user_of_no_name_and_no_rights_is_enough(engine: Engine, serve: Serve, trained: Training):
    server = serve(*engine.read_only(), "--user", "4321:4321", "--cap-drop", "all", *mounted(trained))
    server.wait_for_ping(200)
    assert caption(server)


def test_sigterm_ends_it_in_time(serve: Serve, trained: Training):
    server = serve(*mounted(trained))
    server.wait_for_ping(200)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 25


def test_an_artifact_that_is_not_there_ends_it(engine: Engine):
    ended = engine.run("serve", seconds=60)
    assert 0 < ended.returncode < 125  # from there on it is the engine that failed
    assert "/opt/ml/model" in ended.stderr + ended.stdout


def test_models_come_and_go(serve: Serve, trained: Training):
    server = serve("-e", "SAGEMAKER_MULTI_MODEL=true", "-v", f"{trained.model}:/opt/ml/models/cat/model:ro")
    server.wait_for_ping(200)
    wanted = json.dumps({"model_name": "cat", "url": "/opt/ml/models/cat/model"}).encode()
    assert server.request("POST", "/models", wanted, {"Content-Type": "application/json"}).status == 200
    assert caption(server, "/models/cat/invoke")
    assert server.request("DELETE", "/models/cat").status == 200
    assert server.request("GET", "/models").json()["models"] == []
