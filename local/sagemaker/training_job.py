"""A training job as DescribeTrainingJob tells of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.shelf import Resource

RUNNING = ("InProgress", "Stopping")
LONGEST_REASON = 1024
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
_REQUESTED = (
    "AlgorithmSpecification",
    "RoleArn",
    "HyperParameters",
    "Environment",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CheckpointConfig",
)
_SWITCHES = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


@dataclass
class TrainingJob(Resource):
    """A job, and how far it has come.

    Attributes:
        job_status: `InProgress`, `Stopping`, `Completed`, `Failed`, `Stopped`.
        transitions: of the secondary status, the last one is where the job is.
        metrics: the last value of each that was defined, with its time.
        reason: why it failed.
        artifact: address of model.tar.gz.
        training_started, ended: seconds since 1970, 0 for not yet.
        stopping: set when somebody has asked for its end.
    """

    job_status: str = "InProgress"
    transitions: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    reason: str = ""
    artifact: str = ""
    training_started: float = 0.0
    ended: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def status(self) -> str:
        """The primary one."""
        return self.job_status

    def enter(self, secondary: str, status: str | None = None) -> None:
        """Go on to a secondary status, and to another primary one."""
        with self.lock:
            self.modified = time.time()
            if self.transitions:
                self.transitions[-1].setdefault("EndTime", self.modified)
            entry = {"Status": secondary, "StartTime": self.modified, "StatusMessage": _MESSAGES[secondary]}
            self.transitions.append(entry)
            self.training_started = self.training_started or (self.modified if secondary == "Training" else 0.0)
            if status is not None:
                self.job_status = status
            if status is not None and status not in RUNNING:
                self.ended = entry["EndTime"] = self.modified

    def stop(self) -> None:
        """Ask for its end; nothing happens to one that has ended."""
        with self.lock:
            running = self.job_status == "InProgress"
            if running:
                self.job_status = "Stopping"
        if running:
            self.enter("Stopping")
            self.stopping.set()

    def read(self, definitions: Sequence[tuple[str, re.Pattern[str]]], line: str) -> None:
        """Take the metrics out of a line of the log."""
        for name, pattern in definitions:
            for found in pattern.finditer(line):
                try:
                    self.metrics[name] = float(found.group(1)), time.time()
                except ValueError:  # as SageMaker: what is no number is no metric
                    continue

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        with self.lock:
            described: dict[str, Any] = {
                "TrainingJobName": self.name,
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.job_status,
                "SecondaryStatus": self.transitions[-1]["Status"],
                "SecondaryStatusTransitions": [dict(entry) for entry in self.transitions],
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                **{name: self.request[name] for name in _REQUESTED if name in self.request},
                **{name: self.request.get(name, False) for name in _SWITCHES},
            }
            if self.artifact:
                described["ModelArtifacts"] = {"S3ModelArtifacts": self.artifact}
            if self.reason:
                described["FailureReason"] = self.reason[:LONGEST_REASON]
            if self.training_started:
                described["TrainingStartTime"] = self.training_started
            if self.ended:
                described["TrainingEndTime"] = self.ended
                seconds = int(self.ended - (self.training_started or self.ended))
                described |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            described["FinalMetricDataList"] = [
                {"MetricName": name, "Value": value, "Timestamp": seen}
                for name, (value, seen) in dict(self.metrics).items()
            ]
        return described

    def summary(self) -> dict[str, Any]:
        """An entry of ListTrainingJobs."""
        names = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime")
        described = self.describe()
        chosen = {name: described[name] for name in (*names, "TrainingJobStatus") if name in described}
        return chosen | {"SecondaryStatus": described["SecondaryStatus"]}
