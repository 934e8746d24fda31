"""Training jobs of the local SageMaker, through boto3 alone."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws import EmbeddedAWS, embedded_aws
from local.sagemaker.launch import Processes
from local.sagemaker.service import local_sagemaker
from ogiri.sagemaker.training.metrics import metric_definitions
from tests.contract.training import SMALL, Row, drawn
from tests.waiting import until

SECONDS = 240

# A trainer whose hyperparameters say what it does.
PROGRAM = """#!/usr/bin/env python3
import json, os, signal, sys, time
from pathlib import Path
base = Path(os.environ["SAGEMAKER_BASE_DIR"])
asked = json.loads((base / "input/config/hyperparameters.json").read_text())
def stop(*_):
    print("validation_loss=0.5;", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if asked.get("deaf") else stop)
(base / "model" / "weights").write_text(os.environ["TRAINING_JOB_NAME"])
found = sorted(path.name for path in (base / "checkpoints").iterdir())
print("found", *found, "train_loss=3.5; train_loss=2.25; and no number: validation_bleu=.;", flush=True)
(base / "checkpoints" / "step-1").write_text("1")
(base / "checkpoints" / "not.sagemaker-ignore").write_text("1")
for old in found:
    (base / "checkpoints" / old).unlink()
if "failure" in asked:
    (base / "output" / "failure").write_text(asked["failure"])
    sys.exit(3)
print("ready", flush=True)
while asked.get("forever"):
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws() as started:
        started.client("s3").put_object(Bucket=started.bucket, Key="images/a.png", Body=drawn(1))
        yield started


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sagemaker")


@pytest.fixture(scope="module")
def sagemaker(aws: EmbeddedAWS, folder: Path, events: list[dict[str, Any]]) -> Iterator[Any]:
    """Runs `PROGRAM` for every job."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "train").write_text(PROGRAM)
    (programs / "train").chmod(0o755)
    launcher = Processes(aws.process_environment(), programs)
    with local_sagemaker(
        aws.process_environment(), folder, targets=[events.append], launcher=launcher, grace_seconds=1
    ) as url:
        yield client(aws, url)


def client(aws: EmbeddedAWS, url: str) -> Any:
    session = boto3.session.Session("local", "local", region_name=aws.environment["AWS_REGION"])
    return session.client("sagemaker", endpoint_url=url)


def request(aws: EmbeddedAWS, name: str, hyperparameters: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "ogiri",
            "TrainingInputMode": "File",
            "MetricDefinitions": metric_definitions(),
        },
        "RoleArn": "arn:aws:iam::123456789012:role/training-role",
        "HyperParameters": hyperparameters or {},
        "InputDataConfig": [channel("training", f"s3://{aws.bucket}/images/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{aws.bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def wait(sagemaker: Any, name: str, *secondary: str) -> dict[str, Any]:
    wanted = secondary or ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded")
    deadline = time.monotonic() + SECONDS
    while True:
        job = sagemaker.describe_training_job(TrainingJobName=name)
        if job["SecondaryStatus"] in wanted:
            return dict(job)
        assert time.monotonic() < deadline, job
        time.sleep(0.02)


def wait_for_log(folder: Path, name: str, text: str) -> None:
    log = folder / "training-jobs" / name / "train.log"
    deadline = time.monotonic() + 30
    while not (log.is_file() and text in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keys(aws: EmbeddedAWS, prefix: str) -> set[str]:
    found = aws.client("s3").list_objects_v2(Bucket=aws.bucket, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(prefix) for entry in found}


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_real_trainer_learns_from_s3_and_its_artifact_comes_back(aws: EmbeddedAWS, tmp_path: Path):
    rows = [Row(f"{n:02}.png", line, n) for n in range(12) for line in (f"犬が{n}回逃げた！", "猫は笑う")]
    s3 = aws.client("s3")
    for row in rows:
        s3.put_object(Bucket=aws.bucket, Key=f"real/{row.key}", Body=drawn(row.seed))
    lines = "".join(json.dumps(row.item(), ensure_ascii=False) + "\n" for row in rows)
    s3.put_object(Bucket=aws.bucket, Key="records/rows.jsonl", Body=lines.encode())
    channels = [channel("training", f"s3://{aws.bucket}/real/"), channel("records", f"s3://{aws.bucket}/records/")]
    checkpoints = {"S3Uri": f"s3://{aws.bucket}/checkpoints/real-1"}
    with local_sagemaker(aws.process_environment(), tmp_path) as url:
        sagemaker = client(aws, url)
        asked = request(aws, "real-1", {**SMALL, "epochs": "1"}, InputDataConfig=channels, CheckpointConfig=checkpoints)
        sagemaker.create_training_job(**asked)
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName="real-1", WaiterConfig={"Delay": 1, "MaxAttempts": SECONDS}
        )
        job = sagemaker.describe_training_job(TrainingJobName="real-1")
    log = (tmp_path / "training-jobs" / "real-1" / "train.log").read_text()
    assert job["TrainingJobStatus"] == "Completed", log
    uri = f"s3://{aws.bucket}/models/real-1/output/model.tar.gz"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == uri
    body = s3.get_object(Bucket=aws.bucket, Key="models/real-1/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert "manifest.json" in archive.getnames()
    assert keys(aws, "models/real-1/output/") == {"model.tar.gz", "output.tar.gz"}
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert {"train_loss", "validation_loss", "validation_nats_per_character"} <= metrics.keys()
    assert f"validation_loss={metrics['validation_loss']:.3f}"[:-1] in log
    assert keys(aws, "checkpoints/real-1/")


def test_a_job_goes_from_s3_to_s3_and_tells_of_it(
    aws: EmbeddedAWS, sagemaker: Any, folder: Path, events: list[dict[str, Any]]
):
    aws.client("s3").put_object(Bucket=aws.bucket, Key="checkpoints/whole/step-0", Body=b"0")
    checkpoints = {"S3Uri": f"s3://{aws.bucket}/checkpoints/whole", "LocalPath": "/opt/ml/checkpoints"}
    tags = [{"Key": "project", "Value": "ogiri"}]
    asked = request(aws, "whole", {"a": "1"}, CheckpointConfig=checkpoints, Tags=tags)
    arn = sagemaker.create_training_job(**asked)["TrainingJobArn"]
    job = wait(sagemaker, "whole")
    assert (job["TrainingJobStatus"], job["TrainingJobArn"]) == ("Completed", arn)
    assert job["HyperParameters"] == {"a": "1"}
    assert [entry["Status"] for entry in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed"
    ]  # fmt: skip
    assert job["TrainingStartTime"] <= job["TrainingEndTime"]
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics == {"train_loss": 2.25}
    assert "found step-0" in (folder / "training-jobs/whole/train.log").read_text()
    assert keys(aws, "checkpoints/whole/") == {"step-1"}
    base = folder / "training-jobs/whole/opt-ml"
    assert (base / "input/data/training/a.png").read_bytes() == drawn(1)
    inputs = json.loads((base / "input/config/inputdataconfig.json").read_text())
    assert inputs["training"]["TrainingInputMode"] == "File"
    assert json.loads((base / "input/config/resourceconfig.json").read_text())["hosts"] == ["algo-1"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "told", "Value": "yes"}])
    assert {"Key": "told", "Value": "yes"} in sagemaker.list_tags(ResourceArn=arn)["Tags"]
    (event,) = until(
        lambda: [e for e in events if e["resources"] == [arn] and e["detail"]["SecondaryStatus"] == "Completed"], 10
    )
    assert event["detail-type"] == "SageMaker Training Job State Change"
    assert event["source"] == "aws.sagemaker"
    assert event["detail"]["TrainingJobName"] == "whole"
    assert event["detail"]["CreationTime"] == int(1000 * job["CreationTime"].timestamp())


def test_a_failure_file_becomes_the_reason_and_no_model_is_kept(aws: EmbeddedAWS, sagemaker: Any):
    sagemaker.create_training_job(**request(aws, "failing", {"failure": "UserError: no records\nmore"}))
    job = wait(sagemaker, "failing")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: UserError: no records\nmore, exit code: 3"
    assert "ModelArtifacts" not in job or not job["ModelArtifacts"]
    assert keys(aws, "models/failing/") == set()


@pytest.mark.parametrize("deaf", [False, True])
def test_a_stopped_job_keeps_its_model(aws: EmbeddedAWS, sagemaker: Any, folder: Path, deaf: bool):
    name = f"stopped-{deaf}"
    sagemaker.create_training_job(**request(aws, name, {"forever": "1"} | ({"deaf": "1"} if deaf else {})))
    wait_for_log(folder, name, "ready")
    sagemaker.stop_training_job(TrainingJobName=name)
    job = wait(sagemaker, name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    metrics = {metric["MetricName"] for metric in job["FinalMetricDataList"]}
    assert ("validation_loss" in metrics) != deaf
    assert keys(aws, f"models/{name}/output/") == {"model.tar.gz"}
    code, message = refused(sagemaker.stop_training_job, TrainingJobName=name)
    assert code == "ValidationException"
    assert "Stopped" in message


def test_a_job_ends_at_its_longest_time(aws: EmbeddedAWS, sagemaker: Any):
    condition = {"MaxRuntimeInSeconds": 1}
    sagemaker.create_training_job(**request(aws, "long", {"forever": "1"}, StoppingCondition=condition))
    job = wait(sagemaker, "long")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("/long/output/model.tar.gz")


def test_input_that_is_not_there_fails_the_job_by_its_address(aws: EmbeddedAWS, sagemaker: Any):
    for name, uri in (("no-bucket", "s3://no-such-bucket/x/"), ("no-key", f"s3://{aws.bucket}/nothing/")):
        sagemaker.create_training_job(**request(aws, name, InputDataConfig=[channel("training", uri)]))
        job = wait(sagemaker, name)
        assert job["TrainingJobStatus"] == "Failed"
        assert job["FailureReason"].startswith("ClientError: ")
        assert uri in job["FailureReason"]


def test_one_job_a_name(aws: EmbeddedAWS, sagemaker: Any):
    sagemaker.create_training_job(**request(aws, "twice"))
    wait(sagemaker, "twice")
    code, message = refused(sagemaker.create_training_job, **request(aws, "twice"))
    assert code == "ResourceInUse"
    assert "unique" in message


def test_jobs_are_listed_by_name_and_status_page_by_page(aws: EmbeddedAWS, sagemaker: Any):
    for number in range(3):
        sagemaker.create_training_job(**request(aws, f"listed-{number}"))
        wait(sagemaker, f"listed-{number}")
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="listed-", StatusEquals="Completed", SortBy="Name", SortOrder="Ascending",
        PaginationConfig={"PageSize": 2},
    )  # fmt: skip
    names = [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages]
    assert names == [["listed-0", "listed-1"], ["listed-2"]]
    newest = sagemaker.list_training_jobs(NameContains="listed-", MaxResults=1)["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in newest] == ["listed-2"]


def test_bad_input_is_refused_as_aws_does(aws: EmbeddedAWS, sagemaker: Any):
    assert refused(sagemaker.describe_training_job, TrainingJobName="nobody") == (
        "ValidationException", "Requested resource not found."
    )  # fmt: skip
    code, message = refused(sagemaker.create_training_job, **request(aws, "under_score"))
    assert code == "ValidationException"
    assert "regular expression pattern" in message
    bad_metric = request(aws, "metric")
    bad_metric["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "("}]
    assert "loss" in refused(sagemaker.create_training_job, **bad_metric)[1]
    elsewhere = request(aws, "elsewhere", OutputDataConfig={"S3OutputPath": "file:///tmp"})
    assert refused(sagemaker.create_training_job, **elsewhere)[0] == "ValidationException"
    assert refused(sagemaker.list_hubs)[0] == "UnknownOperationException"
    assert not sagemaker.list_training_jobs(NameContains="elsewhere")["TrainingJobSummaries"]


def test_jobs_end_with_the_service(aws: EmbeddedAWS, folder: Path, tmp_path: Path):
    launcher = Processes(aws.process_environment(), folder / "programs")
    with local_sagemaker(aws.process_environment(), tmp_path, launcher=launcher, grace_seconds=1) as url:
        sagemaker = client(aws, url)
        sagemaker.create_training_job(**request(aws, "left", {"forever": "1", "deaf": "1"}))
        wait_for_log(tmp_path, "left", "ready")
    assert not [thread for thread in threading.enumerate() if thread.name == "training left"]
    assert keys(aws, "models/left/output/") == {"model.tar.gz"}
