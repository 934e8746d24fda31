"""The way from an uploaded CSV to a line, through the stack of template.yaml and the local SageMaker."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from local.functions.runtime import Emulator
from local.job import ROOT
from local.sagemaker.cloud import Cloud, local_cloud
from tests.contract.training import SMALL, drawn
from tests.waiting import SECONDS, until

PICTURES = 52  # two batches of the state machine
TOOLS = ROOT / "build" / "tools"


def execution(arn: str) -> dict:
    """An execution that has ended."""
    states = boto3.client("stepfunctions")

    def ended() -> dict | None:
        described = states.describe_execution(executionArn=arn)
        return described if described["status"] != "RUNNING" else None

    return until(ended)


def executions(cloud: Cloud) -> list[str]:
    found = boto3.client("stepfunctions").list_executions(stateMachineArn=cloud.machine)["executions"]
    return [entry["executionArn"] for entry in found]


def uploaded(cloud: Cloud) -> str:
    """Upload pictures and a CSV; returns what that alone has started."""
    s3 = boto3.client("s3")
    lines = ["image_url,expected_result,score"]
    for number in range(PICTURES):
        s3.put_object(Bucket=cloud.aws.bucket, Key=f"pictures/{number}.png", Body=drawn(number))
        url = f"s3://{cloud.aws.bucket}/pictures/{number}.png"
        lines += [f"{url},犬が{number}回逃げた,{number}", f"{url},猫は{number}回笑う,"]
    lines.append(f"s3://{cloud.aws.bucket}/pictures/none.png,無い,")
    s3.put_object(Bucket=cloud.aws.bucket, Key="uploads/notes.txt", Body=b"no CSV")
    s3.put_object(Bucket=cloud.aws.bucket, Key="uploads/rows.csv", Body="\n".join(lines).encode())
    (arn,) = until(lambda: executions(cloud))
    return arn


def told(cloud: Cloud) -> Callable[[], list[str]]:
    """Reads the subjects of what the topic has been told."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(TopicArn=cloud.topic, Protocol="sqs", Endpoint=arn)
    return lambda: [
        json.loads(message["Body"])["Subject"] for message in sqs.receive_message(QueueUrl=url).get("Messages", [])
    ]


def test_an_uploaded_csv_becomes_an_endpoint_that_answers(tmp_path: Path):
    """In AWS's own Lambda runtime; that functions which are processes go the same way, the tests of the demo show."""
    runtime = Emulator(TOOLS)
    if not runtime.program.is_file():
        pytest.skip("the Runtime Interface Emulator is not installed: scripts/tools.sh")
    parameters = {"TrainingHyperparameters": json.dumps({**SMALL, "epochs": "1", "min_records": "2"})}
    with local_cloud(tmp_path, text="off", parameters=parameters, runtime=runtime) as cloud:
        sagemaker, states = boto3.client("sagemaker"), boto3.client("stepfunctions")
        arn = uploaded(cloud)
        first = execution(arn)
        assert first["status"] == "SUCCEEDED", first
        name = json.loads(first["output"])["training_job"]
        assert boto3.client("dynamodb").scan(TableName=cloud.aws.table)["Count"] == 2 * PICTURES
        log = (tmp_path / "logs" / "ogiri-ingest.log").read_text()
        assert log.count('"message":"ingested"') == 2
        assert log.count('"message":"row left out"') == 1

        again = execution(states.start_execution(stateMachineArn=cloud.machine, input=first["input"])["executionArn"])
        assert json.loads(again["output"])["taken_by"] == arn.rpartition(":")[2]
        assert len(executions(cloud)) == 2
        assert (tmp_path / "logs" / "ogiri-ingest.log").read_text() == log  # no picture was looked at again

        boto3.client("s3").put_object(Bucket=cloud.aws.bucket, Key="uploads/empty.csv", Body=b"")
        broken = until(lambda: executions(cloud) if len(executions(cloud)) == 3 else None)
        (failing,) = [execution(each) for each in broken if "empty.csv" in execution(each)["input"]]
        once_more = states.start_execution(stateMachineArn=cloud.machine, input=failing["input"])["executionArn"]
        assert failing["status"] == "FAILED"
        assert execution(once_more)["status"] == "FAILED"  # not SUCCEEDED, as if the first one had the upload still

        subjects = told(cloud)
        payload = json.dumps({"bucket": cloud.aws.bucket, "key": "uploads/none.csv"})
        answer = boto3.client("lambda").invoke(FunctionName="ogiri-start-training", Payload=payload)
        by_hand = json.loads(answer["Payload"].read())["execution"]
        failed = execution(f"{cloud.machine.replace('stateMachine', 'execution')}:{by_hand}")
        assert failed["error"] == "UploadFailed"
        assert "uploads/none.csv" in failed["cause"]
        assert subjects() == ["ogiri: an upload did not become a training job"]

        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": SECONDS}
        )
        job = sagemaker.describe_training_job(TrainingJobName=name)
        assert job["TrainingJobStatus"] == "Completed", job
        until(lambda: sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"])
        endpoint = sagemaker.describe_endpoint(EndpointName=cloud.endpoint)
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        assert config["ProductionVariants"][0]["ModelName"] == name

        request = {"image": base64.b64encode(drawn(0)).decode(), "parameters": {"num_candidates": 2, "seed": 1}}
        answer = boto3.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=cloud.endpoint, Body=json.dumps(request).encode(), ContentType="application/json"
        )
        answered = json.loads(answer["Body"].read())
        assert answered["model"] == name
        assert len(answered["captions"]) == 2
        assert all(caption["text"] for caption in answered["captions"])


def test_the_program_prints_what_a_shell_needs_and_ends_with_ctrl_c(tmp_path: Path):
    paths = os.pathsep.join(map(str, (ROOT / "container", ROOT / "lambda" / "layer", ROOT)))
    command = [sys.executable, "-m", "local.sagemaker.cloud", "--folder", str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed: list[str] = []
    try:
        for line in process.stdout:
            printed.append(line)
            if "Ctrl-C" in line:
                break
        script = "".join(line for line in printed if line.startswith(("unset ", "export ")))
        code = (
            "import boto3, os; print(boto3.client('sagemaker').list_endpoints()['Endpoints'], "
            "boto3.client('s3').list_objects_v2(Bucket=os.environ['BUCKET'])['KeyCount'])"
        )
        used = subprocess.run(
            ["bash", "-c", f'{script}\n"{sys.executable}" -c "{code}"'],
            env={**os.environ, "AWS_PROFILE": "somebody-elses"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert used.stdout.strip() == "[] 0", used.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
