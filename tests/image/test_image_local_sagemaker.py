"""The local SageMaker with the real image: a job, the endpoint of its model, and a job that does not listen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from local.aws import EmbeddedAWS, embedded_aws
from local.sagemaker.service import local_sagemaker
from tests.contract.server import wait_until
from tests.contract.training import SMALL, drawn
from tests.image.engine import Engine

ROLE = "arn:aws:iam::123456789012:role/ogiri"
SECONDS = 180
GRACE_SECONDS = 0.0  # a job that is stopped is killed at once


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws() as started:
        s3, table = started.client("s3"), started.resource("dynamodb").Table(started.table)
        for number in range(12):
            s3.put_object(Bucket=started.bucket, Key=f"images/{number}.png", Body=drawn(number))
            table.put_item(Item={"ImageKey": f"{number}.png", "ExpectedResult": f"会議はまだ続く{number}"})
        yield started


@pytest.fixture(scope="module")
def client(aws: EmbeddedAWS, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    folder = tmp_path_factory.mktemp("sagemaker")
    environment = aws.process_environment()
    with local_sagemaker(environment, folder, engine=engine.program, grace_seconds=GRACE_SECONDS) as url:
        session = boto3.session.Session("local", "local", region_name=aws.environment["AWS_REGION"])
        yield lambda service: session.client(service, endpoint_url=url)


def start_job(aws: EmbeddedAWS, sagemaker: Any, engine: Engine, name: str, hyperparameters: dict[str, str]) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{aws.bucket}/images/"}
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": engine.image, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters=hyperparameters,
        Environment={"DYNAMODB_TABLE_NAME": aws.table},
        InputDataConfig=[{"ChannelName": "training", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{aws.bucket}/models"},
        ResourceConfig={"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while (job := sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] in (
        "InProgress",
        "Stopping",
    ):
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return dict(job)


def containers(engine: Engine) -> str:
    return engine.output("ps", "--all", "--format", "{{.Names}}", "--filter", "name=ogiri-")


def test_a_table_becomes_an_endpoint_that_answers(aws: EmbeddedAWS, client: Callable[..., Any], engine: Engine):
    sagemaker = client("sagemaker")
    start_job(aws, sagemaker, engine, "small", SMALL)
    job = ended(sagemaker, "small")
    assert job["TrainingJobStatus"] == "Completed", job
    container = {"Image": engine.image, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    sagemaker.create_model(ModelName="small", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "all", "ModelName": "small", "InstanceType": "ml.c6i.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="small", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="small", EndpointConfigName="small")

    def status() -> str:
        return str(sagemaker.describe_endpoint(EndpointName="small")["EndpointStatus"])

    wait_until(lambda: status() != "Creating", "the endpoint is up", 60)
    assert status() == "InService"
    answer = client("sagemaker-runtime").invoke_endpoint(EndpointName="small", Body=drawn(1), ContentType="image/png")
    assert json.loads(answer["Body"].read())["captions"][0]["text"]
    sagemaker.delete_endpoint(EndpointName="small")
    wait_until(lambda: not containers(engine), "its container is gone", 40)


def test_a_job_that_is_killed_leaves_no_container(aws: EmbeddedAWS, client: Callable[..., Any], engine: Engine):
    sagemaker = client("sagemaker")
    start_job(aws, sagemaker, engine, "endless", {**SMALL, "epochs": "10000", "patience": "0"})
    wait_until(lambda: "ogiri-train-" in containers(engine), "the container runs", 60)
    sagemaker.stop_training_job(TrainingJobName="endless")
    assert ended(sagemaker, "endless")["TrainingJobStatus"] == "Stopped"
    wait_until(lambda: not containers(engine), "the container is gone", 40)
