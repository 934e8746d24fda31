"""The way from an uploaded CSV to a line, through S3, the Lambdas and the local SageMaker."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from local.job import ROOT
from local.sagemaker.cloud import ENDPOINT, local_cloud
from local.sagemaker.functions import run_state_machine
from tests.contract.training import SMALL, drawn

SECONDS = 240
PICTURES = 12


def object_created(bucket: str, key: str) -> dict:
    entry = {"key": key, "size": 5, "sequencer": "1"}
    detail = {"bucket": {"name": bucket}, "object": entry, "reason": "PutObject"}
    return {"id": "1", "detail-type": "Object Created", "source": "aws.s3", "detail": detail}


def test_an_uploaded_csv_becomes_an_endpoint_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hyperparameters = {**SMALL, "epochs": "1", "min_records": "2"}
    monkeypatch.setenv("TRAINING_HYPERPARAMETERS", json.dumps(hyperparameters))
    with local_cloud(tmp_path, text="off") as aws:
        s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
        lines = ["image_url,expected_result,score"]
        for number in range(PICTURES):
            s3.put_object(Bucket=aws.bucket, Key=f"pictures/{number}.png", Body=drawn(number))
            url = f"s3://{aws.bucket}/pictures/{number}.png"
            lines += [f"{url},犬が{number}回逃げた,{number}", f"{url},猫は{number}回笑う,"]
        s3.put_object(Bucket=aws.bucket, Key="uploads/rows.csv", Body="\n".join(lines).encode())

        started = run_state_machine(object_created(aws.bucket, "uploads/rows.csv"), "first")
        assert started["started"]
        again = run_state_machine(object_created(aws.bucket, "uploads/rows.csv"), "second")
        assert again == {"training_job": started["training_job"], "started": False}

        name = started["training_job"]
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": SECONDS}
        )
        job = sagemaker.describe_training_job(TrainingJobName=name)
        assert job["TrainingJobStatus"] == "Completed", job
        deadline = time.monotonic() + SECONDS
        while not sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        endpoint = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
        config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
        assert config["ProductionVariants"][0]["ModelName"] == name

        request = {"image": base64.b64encode(drawn(0)).decode(), "parameters": {"num_candidates": 2, "seed": 1}}
        answer = boto3.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT, Body=json.dumps(request).encode(), ContentType="application/json"
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
        script = "".join(line for line in printed if line.startswith("export "))
        code = "import boto3; print(boto3.client('sagemaker').list_endpoints()['Endpoints'])"
        used = subprocess.run(
            ["bash", "-c", f'{script}\n"{sys.executable}" -c "{code}"'], capture_output=True, text=True, timeout=60
        )
        assert used.stdout.strip() == "[]", used.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
