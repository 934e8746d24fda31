"""CloudWatch's embedded metrics on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.contract.server import Server, Starter, wait_until


def documents(server: Server) -> Iterator[dict[str, Any]]:
    """Stdout and stderr go to one file here; a document of metrics has no level."""
    for line in server.log_file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and "_aws" in (document := json.loads(line)):
            yield document


def assert_is_embedded_metric_format(document: dict[str, Any]) -> None:
    aws = document["_aws"]
    assert aws.keys() == {"Timestamp", "CloudWatchMetrics"}
    assert aws["Timestamp"] > 1.6e12  # milliseconds
    (directive,) = aws["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("ogiri", [["Model"]])
    named = {definition["Name"] for definition in directive["Metrics"]}
    assert named == document.keys() - {"_aws", "Model"}
    assert all(isinstance(document[name], int | float) for name in named)
    units = {"Count", "Count/Second", "Milliseconds"}
    assert {definition["Unit"] for definition in directive["Metrics"]} <= units


def test_are_off_unless_asked_for(start: Starter):
    server = start.echo()
    server.invoke({"text": "a"})
    assert server.stop() == 0
    assert list(documents(server)) == []


def test_say_at_the_end_what_happened_since_the_last_time(start: Starter):
    server = start.echo(OGIRI_METRICS="emf")
    for _ in range(8):
        server.invoke({"text": "a", "seconds": 0.02})
    server.invoke({"message": "no"})
    server.invoke({"text": None})
    server.invoke({"pieces": ["a"], "stream": True, "message": "no"})
    server.request("GET", "/nowhere")
    server.request("GET", "/execution-parameters")
    assert server.stop() == 0
    (document,) = documents(server)
    assert_is_embedded_metric_format(document)
    assert document["Model"] == "echo"
    assert (document["Requests"], document["Errors"], document["ServerErrors"]) == (11, 3, 1)
    assert 20 <= document["LatencyP50"] <= document["LatencyP95"] <= document["LatencyP99"]
    assert (document["Tokens"], document["BatchSize"]) == (8, 1)
    assert document["TokensPerSecond"] > 0


def test_count_what_never_reached_the_model(start: Starter):
    server = start.echo(OGIRI_METRICS="emf", SAGEMAKER_MAX_PAYLOAD_IN_MB="1")
    large = bytes(3_000_000)
    for path in ("/invocations", "/invocations?a=b", "/nowhere"):
        assert server.request("POST", path, large, {"Content-Type": "application/json"}).status == 413
    server.invoke({"text": "a"})
    assert server.stop() == 0
    found = {document["Model"]: document for document in documents(server)}
    assert found.keys() == {"echo", "none"}
    assert_is_embedded_metric_format(found["none"])
    assert (found["none"]["Requests"], found["none"]["Errors"], found["none"]["ServerErrors"]) == (2, 2, 0)
    assert found["echo"]["Requests"] == 1


def test_come_at_every_interval_in_which_something_happened(start: Starter):
    server = start.echo(OGIRI_METRICS="emf", OGIRI_METRICS_SECONDS="1")
    for number in (1, 2):
        server.invoke({"text": "a"})
        wait_until(lambda number=number: len(list(documents(server))) == number, "a report")
    assert server.stop() == 0
    assert [document["Requests"] for document in documents(server)] == [1, 1]
