"""Endpoints of the local SageMaker, through boto3 alone: the real `serve` with tiny models."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws import EmbeddedAWS, embedded_aws
from local.sagemaker.launch import Processes
from local.sagemaker.service import local_sagemaker
from ogiri import artifact
from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny
from tests.contract.server import SERVE_ECHO, write_echo
from tests.contract.training import drawn
from tests.waiting import until

SECONDS = 60
ROLE = "arn:aws:iam::123456789012:role/serving-role"
INSTANCE = {"InstanceType": "ml.c6i.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5}}


class Clients:
    """boto3 at the local SageMaker, and the things that a test creates there."""

    def __init__(self, aws: EmbeddedAWS, url: str) -> None:
        session = boto3.session.Session("local", "local", region_name=aws.environment["AWS_REGION"])
        config = Config(retries={"total_max_attempts": 1})  # a call that fails is seen
        self.sagemaker = session.client("sagemaker", endpoint_url=url, config=config)
        self.runtime = session.client("sagemaker-runtime", endpoint_url=url, config=config)
        self._bucket = aws.bucket

    def configured(self, name: str, archive: str, asynchronous: Any = None, **variant: Any) -> str:
        """A model and a configuration of one name; asynchronous: its OutputConfig."""
        container = {"Image": "ogiri", "ModelDataUrl": f"s3://{self._bucket}/{archive}.tar.gz"}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variants = [{"VariantName": "AllTraffic", "ModelName": name, **(variant or INSTANCE)}]
        more = {"AsyncInferenceConfig": {"OutputConfig": asynchronous}} if asynchronous else {}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **more)
        return name

    def wait(self, endpoint: str, *statuses: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            described = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            if described["EndpointStatus"] in (statuses or ("InService", "Failed")):
                return dict(described)
            assert time.monotonic() < deadline, described
            time.sleep(0.02)

    def invoke(self, endpoint: str, body: Any, **more: Any) -> Any:
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, Body=json.dumps(body).encode(), ContentType="application/json", **more
        )
        return json.loads(answer["Body"].read())


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAWS]:
    tokenizer = train_tokenizer(["犬も歩けば棒に当たる。", "猫が「ごはん」と言った!", "a dog and a cat"] * 5, 400)
    folder = tmp_path_factory.mktemp("models")
    with embedded_aws() as started:
        s3 = started.client("s3")
        for name in ("first", "second"):
            tiny.write_artifact(folder / name, tokenizer.model, tokenizer.vocabulary)
            manifest = folder / name / "manifest.json"
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "name": name}))
            artifact.pack(folder / name, folder / f"{name}.tar.gz")
        artifact.pack(write_echo(folder / "echo") / "model", folder / "echo.tar.gz")
        artifact.pack(write_echo(folder / "broken", warm_up_kills=True) / "model", folder / "broken.tar.gz")
        (folder / "rubbish.tar.gz").write_bytes(b"rubbish")
        for archive in folder.glob("*.tar.gz"):
            s3.upload_file(str(archive), started.bucket, archive.name)
        yield started


@pytest.fixture(scope="module")
def captions(aws: EmbeddedAWS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """The real `container/serve`."""
    with local_sagemaker(aws.process_environment(), tmp_path_factory.mktemp("captions")) as url:
        yield Clients(aws, url)


@pytest.fixture(scope="module")
def echo(aws: EmbeddedAWS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """`serve` with the task `echo`, and calls that may take two seconds."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "serve").write_text(f"#!/bin/sh\nexec {sys.executable} {SERVE_ECHO}\n")
    (programs / "serve").chmod(0o755)
    launcher = Processes(aws.process_environment(), programs)
    folder = tmp_path_factory.mktemp("echo")
    with local_sagemaker(aws.process_environment(), folder, launcher=launcher, answer_seconds=2) as url:
        clients = Clients(aws, url)
        clients.sagemaker.create_endpoint(EndpointName="echo", EndpointConfigName=clients.configured("echo", "echo"))
        assert clients.wait("echo")["EndpointStatus"] == "InService"
        yield clients


def refused(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return {**caught.value.response, **caught.value.response["Error"]}


def invocation(**more: Any) -> dict[str, Any]:
    return {"EndpointName": "echo", "Body": b'{"text": "hi"}', "ContentType": "application/json", **more}


def test_an_update_costs_no_call(captions: Clients):
    sagemaker = captions.sagemaker
    for name in ("first", "second"):
        captions.configured(name, name)
    tags = [{"Key": "project", "Value": "ogiri"}]
    arn = sagemaker.create_endpoint(EndpointName="lines", EndpointConfigName="first", Tags=tags)["EndpointArn"]
    assert captions.wait("lines")["EndpointStatus"] == "InService"
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    request = {"image": base64.b64encode(drawn(1)).decode(), "parameters": {"seed": 1}}
    assert captions.invoke("lines", request)["model"] == "first"
    answers: list[Any] = []
    over = threading.Event()

    def call_all_the_time() -> None:
        while not over.is_set():
            try:
                answers.append(captions.invoke("lines", request)["model"])
            except Exception as error:
                answers.append(error)
            time.sleep(0.005)

    callers = [threading.Thread(target=call_all_the_time) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        sagemaker.update_endpoint(EndpointName="lines", EndpointConfigName="second")
        assert refused(sagemaker.update_endpoint, EndpointName="lines", EndpointConfigName="first")["Code"] == (
            "ValidationException"
        )
        assert "uses it" in refused(sagemaker.delete_endpoint_config, EndpointConfigName="second")["Message"]
        described = captions.wait("lines")
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "second")
        seen = len(answers)
        deadline = time.monotonic() + SECONDS
        while len(answers) < seen + 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert set(answers) == {"first", "second"}
    assert set(answers[-10:]) == {"second"}
    sagemaker.delete_endpoint(EndpointName="lines")
    assert "Could not find" in refused(sagemaker.describe_endpoint, EndpointName="lines")["Message"]
    sagemaker.delete_endpoint_config(EndpointConfigName="second")


def test_a_call_is_the_models_own(echo: Clients):
    answer = echo.runtime.invoke_endpoint(**invocation(Accept="text/plain", CustomAttributes="suffix=!,trace=7"))
    assert answer["Body"].read().decode().strip() == "hi!"
    assert answer["ContentType"].startswith("text/plain")
    assert answer["CustomAttributes"] == "suffix=!,trace=7"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


@pytest.mark.parametrize(("body", "status"), [(b"no json", 400), (b'{"bug": true}', 500)])
def test_what_the_model_refuses_is_a_model_error(echo: Clients, body: bytes, status: int):
    error = refused(echo.runtime.invoke_endpoint, **invocation(Body=body))
    assert error["Code"] == "ModelError"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert error["OriginalStatusCode"] == status
    assert json.loads(error["OriginalMessage"])["error"]["code"]
    assert error["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/echo")
    assert isinstance(echo.runtime.exceptions.ModelError, type)


def test_a_call_that_takes_too_long_is_given_up(echo: Clients):
    error = refused(echo.runtime.invoke_endpoint, **invocation(Body=b'{"text": "late", "seconds": 10}'))
    assert (error["Code"], error["OriginalStatusCode"]) == ("ModelError", 0)
    assert "timed out" in error["Message"]


def test_a_body_over_the_limit_does_not_reach_the_model(echo: Clients):
    sagemaker = echo.sagemaker
    sagemaker.create_endpoint(
        EndpointName="small", EndpointConfigName=echo.configured("small", "echo", **SERVERLESS)
    )  # fmt: skip
    echo.wait("small")
    for endpoint, limit in (("echo", 6 * 1024**2), ("small", 4 * 1024**2)):
        fits = invocation(EndpointName=endpoint, ContentType="image/png", Body=bytes(limit))
        assert f"{limit} bytes" in echo.runtime.invoke_endpoint(**fits)["Body"].read().decode()
        error = refused(echo.runtime.invoke_endpoint, **{**fits, "Body": bytes(limit + 1)})
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 413
    sagemaker.delete_endpoint(EndpointName="small")


def test_an_answer_streams_as_the_model_writes_it(captions: Clients):
    sagemaker = captions.sagemaker
    sagemaker.create_endpoint(EndpointName="streamed", EndpointConfigName=captions.configured("streamed", "first"))
    assert captions.wait("streamed")["EndpointStatus"] == "InService"
    parameters = {"seed": 1, "stream": True, "min_length": 20}
    request = {"image": base64.b64encode(drawn(1)).decode(), "parameters": parameters}
    answer = captions.runtime.invoke_endpoint_with_response_stream(
        EndpointName="streamed",
        Body=json.dumps(request).encode(),
        ContentType="application/json",
        Accept="text/event-stream",
        CustomAttributes="trace=7",
    )
    assert answer["ContentType"].startswith("text/event-stream")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace=7"
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    events = b"".join(parts).decode().split("\n\n")
    assert len(events) > 2
    whole = captions.invoke("streamed", {**request, "parameters": {**parameters, "stream": False}})
    assert whole["captions"][0]["text"] in events[-2]
    sagemaker.delete_endpoint(EndpointName="streamed")


def test_pieces_come_when_they_are_written(echo: Clients):
    body = json.dumps({"pieces": ["a", "b", "c"], "seconds": 0.3, "stream": True}).encode()
    answer = echo.runtime.invoke_endpoint_with_response_stream(**invocation(Body=body))
    assert len([event["PayloadPart"]["Bytes"] for event in answer["Body"]]) >= 3


def test_a_stream_that_the_model_refuses_is_a_model_error_and_one_that_stalls_says_so(echo: Clients):
    stream = echo.runtime.invoke_endpoint_with_response_stream
    assert refused(stream, **invocation(Body=b"no json"))["OriginalStatusCode"] == 400
    late = refused(stream, **invocation(Body=b'{"text": "late", "seconds": 10}'))
    assert (late["Code"], late["OriginalStatusCode"]) == ("ModelError", 0)
    assert refused(stream, **invocation(EndpointName="nobody"))["Code"] == "ValidationError"


def test_an_asynchronous_call_is_answered_in_s3(echo: Clients, aws: EmbeddedAWS):
    s3, sagemaker, bucket = aws.client("s3"), echo.sagemaker, aws.bucket
    places = {"S3OutputPath": f"s3://{bucket}/answers/", "S3FailurePath": f"s3://{bucket}/answers/failed"}
    config = echo.configured("later", "echo", asynchronous=places)
    sagemaker.create_endpoint(EndpointName="later", EndpointConfigName=config)
    assert echo.wait("later")["EndpointStatus"] == "InService"

    def call(body: bytes, **more: Any) -> tuple[str, str]:
        s3.put_object(Bucket=bucket, Key="requests/one.json", Body=body)
        place = f"s3://{bucket}/requests/one.json"
        answer = echo.runtime.invoke_endpoint_async(
            EndpointName="later", InputLocation=place, ContentType="application/json", **more
        )
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert answer["InferenceId"] == more.get("InferenceId", answer["InferenceId"])
        return answer["OutputLocation"], answer["FailureLocation"]

    def read(place: str) -> bytes | None:
        key = place.removeprefix(f"s3://{bucket}/")
        found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents")
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read() if found else None

    longer = {"text": "late", "seconds": 3}  # than an answer may take that is waited for
    place, failure = call(json.dumps(longer).encode(), Accept="text/plain", InferenceId="mine")
    assert until(lambda: read(place)).decode().strip() == "late"
    assert read(failure) is None
    place, failure = call(b"no json")
    assert b"Received client error (400) from primary" in until(lambda: read(failure))
    assert read(place) is None
    place, failure = call(json.dumps(longer).encode(), InvocationTimeoutSeconds=1)
    assert b"timed out" in until(lambda: read(failure))

    gone = {"EndpointName": "later", "InputLocation": f"s3://{bucket}/requests/gone.json"}
    failure = echo.runtime.invoke_endpoint_async(**gone)["FailureLocation"]
    assert b"NoSuchKey" in until(lambda: read(failure))
    assert "InvokeEndpointAsync" in refused(echo.runtime.invoke_endpoint, **invocation(EndpointName="later"))["Message"]
    other = refused(echo.runtime.invoke_endpoint_async, EndpointName="echo", InputLocation=gone["InputLocation"])
    assert (other["Code"], "InvokeEndpoint is" in other["Message"]) == ("ValidationError", True)
    wrong = refused(echo.runtime.invoke_endpoint_async, EndpointName="later", InputLocation="https://example.com/a")
    assert "must be s3://BUCKET/KEY" in wrong["Message"]
    sagemaker.delete_endpoint(EndpointName="later")


@pytest.mark.parametrize("archive", ["broken", "rubbish", "missing"])
def test_an_update_to_a_model_that_does_not_start_leaves_the_old_one(echo: Clients, archive: str):
    config = echo.configured(archive, archive)
    echo.sagemaker.update_endpoint(EndpointName="echo", EndpointConfigName=config)
    described = echo.wait("echo")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "echo")
    assert described["FailureReason"]
    assert echo.invoke("echo", {"text": "still there"})["captions"][0]["text"] == "still there"


def test_a_new_endpoint_of_a_model_that_does_not_start_has_failed(echo: Clients):
    echo.sagemaker.create_endpoint(EndpointName="dead", EndpointConfigName=echo.configured("dead", "missing"))
    described = echo.wait("dead")
    assert described["EndpointStatus"] == "Failed"
    assert "missing.tar.gz" in described["FailureReason"]
    assert refused(echo.runtime.invoke_endpoint, **invocation(EndpointName="dead"))["Code"] == "ValidationError"
    assert refused(echo.sagemaker.update_endpoint, EndpointName="dead", EndpointConfigName="echo")["Code"] == (
        "ValidationException"
    )
    echo.sagemaker.delete_endpoint(EndpointName="dead")


def test_an_update_waits_for_calls_of_the_old_server(echo: Clients):
    sagemaker = echo.sagemaker
    for name in ("old", "new"):
        echo.configured(name, "echo")
    sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="old")
    echo.wait("busy")
    sagemaker.update_endpoint(EndpointName="busy", EndpointConfigName="new")
    texts: list[str] = []

    def call() -> None:
        for number in range(6):
            body = {"text": str(number), "seconds": 1}
            texts.append(echo.invoke("busy", body)["captions"][0]["text"])

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(texts) == sorted([str(number) for number in range(6)] * 2)
    assert echo.wait("busy")["EndpointConfigName"] == "new"
    sagemaker.delete_endpoint(EndpointName="busy")


def test_names_that_are_unknown_or_taken_are_refused(echo: Clients):
    sagemaker = echo.sagemaker
    missing = [
        refused(sagemaker.describe_model, ModelName="nobody"),
        refused(sagemaker.delete_model, ModelName="nobody"),
        refused(sagemaker.describe_endpoint_config, EndpointConfigName="nobody"),
        refused(sagemaker.describe_endpoint, EndpointName="nobody"),
        refused(sagemaker.create_endpoint, EndpointName="new", EndpointConfigName="nobody"),
        refused(sagemaker.update_endpoint, EndpointName="echo", EndpointConfigName="nobody"),
    ]
    assert {error["Code"] for error in missing} == {"ValidationException"}
    assert all(error["Message"].startswith("Could not find ") for error in missing)
    taken = [
        refused(echo.configured, name="echo", archive="echo"),
        refused(sagemaker.create_endpoint, EndpointName="echo", EndpointConfigName="echo"),
    ]
    assert all("already existing" in error["Message"] for error in taken)
    error = refused(echo.runtime.invoke_endpoint, **invocation(EndpointName="nobody"))
    assert (error["Code"], error["Message"]) == (
        "ValidationError", "Endpoint nobody of account 123456789012 not found."
    )  # fmt: skip


def test_models_and_configurations_are_listed_newest_first(echo: Clients):
    for number in range(3):
        echo.configured(f"listed-{number}", "echo")
    models = echo.sagemaker.list_models(NameContains="listed-")["Models"]
    assert [model["ModelName"] for model in models] == ["listed-2", "listed-1", "listed-0"]
    pages = echo.sagemaker.get_paginator("list_endpoint_configs").paginate(
        NameContains="listed-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    names = [[config["EndpointConfigName"] for config in page["EndpointConfigs"]] for page in pages]
    assert names == [["listed-0", "listed-1"], ["listed-2"]]
    assert echo.sagemaker.describe_model(ModelName="listed-0")["PrimaryContainer"]["Image"] == "ogiri"
    listed = echo.sagemaker.list_endpoints(NameContains="echo")["Endpoints"]
    assert [(entry["EndpointName"], entry["EndpointStatus"]) for entry in listed] == [("echo", "InService")]
