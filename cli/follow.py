"""What becomes of an upload: the state machine, the training job, the endpoint, each step as it happens."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CommandError
from cli.places import ENDPOINT, MACHINE, Places
from ogiri_aws import endpoints, jobs
from ogiri_aws.deployment import AWAITS_APPROVAL, TOLD_TAG
from ogiri_aws.uploads import Upload, UploadError, upload_from

POLL_SECONDS = 2.0
START_SECONDS = 120.0  # within which an upload's execution should have begun
CLOCK_SECONDS = 60.0  # by which this machine's clock may be ahead of AWS's
LISTED = 50  # the newest executions and jobs that are looked at

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """The way of one upload.

    Attributes:
        places: of the state machine and the endpoint.
        upload: the CSV; without a version in a bucket that has none.
        started: when it was uploaded, in seconds since 1970.
        timeout: of the whole way, in seconds.
    """

    places: Places
    upload: Upload
    started: float
    timeout: float

    def hint(self) -> str:
        """How to follow it by hand."""
        job = self._job_name() or f"{self.places.project()}-…"
        endpoint = self.places.find(ENDPOINT) or "NAME"
        return (
            "What becomes of it (or upload with --wait):\n"
            f"  aws stepfunctions list-executions --state-machine-arn {self.places.find(MACHINE) or 'ARN'}\n"
            f"  aws sagemaker describe-training-job --training-job-name {shlex.quote(job)}\n"
            f"  aws sagemaker describe-endpoint --endpoint-name {endpoint}"
        )

    def walk(self) -> bool:
        """Print every step until the endpoint serves the new model.

        Returns:
            False when it never will, or not before somebody approves it.

        Raises:
            CommandError: the time is over.
        """
        job = self._ingested()
        return job is not None and self._trained(job) and self._served(job)

    def _ingested(self) -> str | None:
        """Follow the state machine; the job's name, None when it failed."""
        states = boto3.client("stepfunctions")
        machine = self.places.find(MACHINE)
        try:
            execution = self._execution(states, machine) if machine else None
        except (ClientError, BotoCoreError) as error:
            _say("state machine", f"cannot be followed: {error}")
            execution = None
        if execution is None:
            _say("state machine", "its steps are not shown: waiting for the training job")
            return self._until("training job", self._started_job)
        _say("state machine", f"execution {execution.rpartition(':')[2]}")
        return self._executed(states, execution)

    def _execution(self, states: Any, machine: str) -> str:
        patience = min(START_SECONDS, self.timeout)
        deadline = time.monotonic() + patience
        while True:
            for entry in states.list_executions(stateMachineArn=machine, maxResults=LISTED)["executions"]:
                if entry["startDate"].timestamp() < self.started - CLOCK_SECONDS:
                    break
                described = states.describe_execution(executionArn=entry["executionArn"])
                if self._is_ours(described.get("input", "")):
                    return str(entry["executionArn"])
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{machine} has not begun with {self.upload} within {patience:g} s: does its rule lead there? "
                    "docs/operations.md says how to start it by hand, and where events end that nobody took"
                )
            time.sleep(POLL_SECONDS)

    def _is_ours(self, text: str) -> bool:
        try:
            found = upload_from(json.loads(text))
        except (ValueError, UploadError):
            return False
        same = (found.bucket, found.key) == (self.upload.bucket, self.upload.key)
        return same and (not self.upload.version or found.version_id in ("", self.upload.version))

    def _executed(self, states: Any, execution: str) -> str | None:
        seen = 0

        def ended() -> dict[str, Any] | None:
            nonlocal seen
            described: dict[str, Any] = states.describe_execution(executionArn=execution)
            names = list(entered_states(states, execution))
            for name in names[seen:]:
                _say("state machine", name)
            seen = len(names)
            return None if described["status"] == "RUNNING" else described

        described = self._until("state machine", ended)
        if described["status"] != "SUCCEEDED":
            reason = f"{described.get('error', '')}: {described.get('cause', '')}".strip(": ")
            _say("state machine", f"{described['status']}: {reason or 'see its history in the console'}")
            return None
        answer = json.loads(described["output"])
        if "taken_by" in answer:
            _say("state machine", f"the event came twice: execution {answer['taken_by']} has it")
            return self._executed(states, f"{execution.rpartition(':')[0]}:{answer['taken_by']}")
        _say("state machine", "SUCCEEDED")
        return str(answer["training_job"])

    def _job_name(self) -> str | None:
        """The job's name follows from the version of its CSV."""
        return jobs.job_name(self.places.project(), self.upload, "") if self.upload.version else None

    def _started_job(self) -> str | None:
        sagemaker = boto3.client("sagemaker")
        name = self._job_name()
        if name is not None:
            try:
                sagemaker.describe_training_job(TrainingJobName=name)
            except ClientError as error:
                if endpoints.is_missing(error):
                    return None
                raise
            return name
        stem = jobs.job_name(self.places.project(), self.upload, "").rpartition("-")[0]
        newest = sagemaker.list_training_jobs(
            NameContains=stem, SortBy="CreationTime", SortOrder="Descending", MaxResults=LISTED
        )
        for job in newest["TrainingJobSummaries"]:
            if job["CreationTime"].timestamp() > self.started - 1:
                return str(job["TrainingJobName"])
        return None

    def _trained(self, name: str) -> bool:
        sagemaker = boto3.client("sagemaker")
        _say("training job", name)
        seen = 0

        def ended() -> dict[str, Any] | None:
            nonlocal seen
            described: dict[str, Any] = dict(sagemaker.describe_training_job(TrainingJobName=name))
            transitions = described.get("SecondaryStatusTransitions", [])
            for step in transitions[seen:]:
                _say("training job", f"{step['Status']}: {step.get('StatusMessage', '')}".rstrip(": "))
            seen = len(transitions)
            return described if described["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        job = self._until("training job", ended)
        for metric in job.get("FinalMetricDataList", ()):
            _say("training job", f"{metric['MetricName']} {metric['Value']:.4g}")
        if job["TrainingJobStatus"] != "Completed":
            _say("training job", f"{job['TrainingJobStatus']}: {job.get('FailureReason', 'it was stopped')}")
            return False
        return True

    def _served(self, job: str) -> bool:
        sagemaker = boto3.client("sagemaker")
        name = self.places.get(ENDPOINT)
        arn = sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobArn"]
        said = ""

        def serves() -> bool | None:
            nonlocal said
            state, _ = endpoints.status(sagemaker, name)
            if state != said:
                _say("endpoint", f"{name} {state or 'is still to come'}")
                said = state
            if state == "InService" and endpoints.serving_model(sagemaker, name) == job:
                return True
            tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
            if TOLD_TAG in tags:
                if tags[TOLD_TAG] == AWAITS_APPROVAL:
                    _say("endpoint", "the model does not serve yet: it awaits approval in the model registry")
                else:
                    _say("endpoint", f"the model does not serve ({tags[TOLD_TAG]}): the message to the topic says why")
                return False
            return None

        if not self._until("endpoint", serves):
            return False
        _say("endpoint", f"{name} serves {job}")
        return True

    def _until(self, what: str, look: Callable[[], T | None]) -> T:
        deadline = self.started + self.timeout
        while True:
            found = look()
            if found is not None:
                return found
            if time.time() > deadline:
                raise CommandError(f"{what}: nothing more within {self.timeout:g} s; it goes on without this command")
            time.sleep(POLL_SECONDS)


def entered_states(states: Any, execution: str) -> Iterator[str]:
    """The names of the states so far, in order."""
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution, includeExecutionData=False)
    for page in pages:
        for event in page["events"]:
            if "stateEnteredEventDetails" in event:
                yield event["stateEnteredEventDetails"]["name"]


def _say(what: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what:13}  {text}", flush=True)
