"""A second upload goes all the way to the endpoint while callers ask it all the time."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from pathlib import Path

import boto3
from botocore.config import Config

from local.sagemaker.cloud import PROJECT, local_cloud
from tests.contract.training import SMALL, drawn
from tests.waiting import until

PICTURES = 12
CALLERS = 3
PAUSE_SECONDS = 0.05
ENDPOINT = f"{PROJECT}-serverless"


class Callers:
    """Threads that invoke the endpoint; `answers` counts models by name, `failures` holds whatever else came."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        client = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
        body = json.dumps({"image": base64.b64encode(drawn(1)).decode(), "parameters": {"seed": 1}}).encode()
        while not self._over.wait(PAUSE_SECONDS):
            try:
                answer = client.invoke_endpoint(EndpointName=ENDPOINT, Body=body, ContentType="application/json")
                model, failure = json.loads(answer["Body"].read())["model"], ""
            except Exception as error:
                model, failure = "", f"{type(error).__name__}: {error}"
            with self._lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.answers[model] += 1
        client.close()


def test_a_second_upload_updates_the_endpoint_without_a_failed_call(tmp_path: Path):
    parameters = {
        "TrainingHyperparameters": json.dumps({**SMALL, "epochs": "1", "min_records": "2"}),
        "GateTolerance": "9",  # one epoch of twelve pictures teaches anything
    }
    with local_cloud(tmp_path, text="off", parameters=parameters) as cloud:
        aws = cloud.aws
        s3, sagemaker, states = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("stepfunctions")
        seen: set[str] = set()

        def execution() -> dict | None:
            """A new one that has ended."""
            for entry in states.list_executions(stateMachineArn=cloud.machine)["executions"]:
                if entry["executionArn"] not in seen and entry["status"] != "RUNNING":
                    seen.add(entry["executionArn"])
                    return states.describe_execution(executionArn=entry["executionArn"])
            return None

        def uploaded(name: str, said: str) -> str:
            """The training job that an upload leads to."""
            rows = [f"s3://{aws.bucket}/pictures/{number}.png,犬が{number}回{said}\n" for number in range(PICTURES)]
            s3.put_object(Bucket=aws.bucket, Key=f"uploads/{name}.csv", Body="".join(rows).encode())
            ended = until(execution)
            assert ended["status"] == "SUCCEEDED", ended
            return json.loads(ended["output"])["training_job"]

        def serves(job: str) -> bool:
            """Whether its model is what the endpoint was made of or updated to."""
            listed = sagemaker.list_endpoints(StatusEquals="InService")["Endpoints"]
            if not listed or job not in sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]:
                assert sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] != "Failed"
                return False
            return True

        for number in range(PICTURES):
            s3.put_object(Bucket=aws.bucket, Key=f"pictures/{number}.png", Body=drawn(number))
        first = uploaded("first", "逃げた")
        until(lambda: serves(first))
        callers = Callers()
        try:
            until(lambda: callers.answers[first] > 10)
            second = uploaded("second", "笑った")
            until(lambda: callers.answers[second] > 10)
            until(lambda: serves(second))
        finally:
            callers.end()
        calls = callers.answers.total() + len(callers.failures)
        print(f"\n{calls} calls, {len(callers.failures)} failures; by model {dict(callers.answers)}")
        metrics = sagemaker.describe_training_job(TrainingJobName=second)["FinalMetricDataList"]
        compared = {"exported_nats_per_character", "baseline_nats_per_character"}
        assert compared <= {metric["MetricName"] for metric in metrics}  # the job had the first model beside it
        assert callers.failures == []
        assert set(callers.answers) == {first, second}
