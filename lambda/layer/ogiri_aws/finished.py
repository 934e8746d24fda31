"""A training job that has ended, as SageMaker describes it, and whether its model is worth serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ogiri_aws.endpoints import is_missing

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import ChannelOutputTypeDef

PROJECT_TAG = "project"
NEW, BASELINE = "exported_nats_per_character", "baseline_nats_per_character"
"""What the new model and the one in the channel `model` cost, over the same held-out lines, as the new job found it."""
CHANNEL = "model"
SPLIT = {"task": "caption", "seed": "0", "validation_fraction": "0.1"}
"""Hyperparameters, and what a job takes where it names none. With these the same, a picture is held out by both jobs or
by none."""


@dataclass(frozen=True)
class FinishedJob:
    """A training job.

    Attributes:
        name: also of its model.
        arn: for its tags.
        status: `Completed`, `Failed`, `Stopped`, or one of a job that still runs.
        reason: why it failed, empty otherwise.
        artifact: S3 URI of its model.tar.gz, empty when there is none.
        baseline: S3 URI of what it compared its model with, an artifact or the folder of one; empty when there is none.
        metrics: the last value of each.
        hyperparameters: as strings.
        created: when it was started.
        tags: by name.
    """

    name: str
    arn: str
    status: str
    reason: str
    artifact: str
    baseline: str
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, str]
    created: datetime
    tags: Mapping[str, str]

    def belongs_to(self, project: str) -> bool:
        """Whether `start_training` of this project started it."""
        return self.tags.get(PROJECT_TAG) == project


@dataclass(frozen=True)
class Verdict:
    """Whether a model may serve, and why."""

    passed: bool
    reason: str


def describe(sagemaker: SageMakerClient, name: str) -> FinishedJob | None:
    """The job of that name; None when there is none."""
    try:
        job = sagemaker.describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    metrics = job.get("FinalMetricDataList", ())
    return FinishedJob(
        name=job["TrainingJobName"],
        arn=job["TrainingJobArn"],
        status=job["TrainingJobStatus"],
        reason=job.get("FailureReason", ""),
        artifact=job.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""),
        baseline=_baseline(job.get("InputDataConfig", ())),
        metrics={metric["MetricName"]: metric["Value"] for metric in metrics if "Value" in metric},
        hyperparameters=job.get("HyperParameters", {}),
        created=job["CreationTime"],
        tags=tags(sagemaker, job["TrainingJobArn"]),
    )


def tags(sagemaker: SageMakerClient, arn: str) -> dict[str, str]:
    """The tags of a thing in SageMaker."""
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def judge(job: FinishedJob, serving: FinishedJob | None, tolerance: float) -> Verdict:
    """Compare a new model with the serving one, where the new job has asked both about the same held-out pictures.

    The split is a hash of seed and picture: as data grows, pictures come to the held-out ones and none leaves them, so
    the serving model has learned from none of them either.

    Args:
        job: of the new model.
        serving: of the model that serves; None when there is none.
        tolerance: how much worse it may be, in nats a character; negative lets everything pass.
    """
    if tolerance < 0:
        return Verdict(True, "GATE_TOLERANCE is negative: nothing is compared")
    if serving is None or serving.name == job.name:
        return Verdict(True, "no other model serves")
    different = [
        name
        for name, default in SPLIT.items()
        if _value(job.hyperparameters.get(name, default)) != _value(serving.hyperparameters.get(name, default))
    ]
    if different:
        return Verdict(True, f"not comparable with {serving.name}: another {' and '.join(different)}")
    if not job.baseline or not serving.artifact.startswith(job.baseline):
        return Verdict(True, f"not comparable with {serving.name}: the job had {job.baseline or 'no model'} beside it")
    if NEW not in job.metrics or BASELINE not in job.metrics:
        return Verdict(True, f"not comparable with {serving.name}: the job found no {NEW} or no {BASELINE}")
    new, old = job.metrics[NEW], job.metrics[BASELINE]
    reason = f"{new:.4f} nats a character, the serving {serving.name} {old:.4f} over the same held-out lines"
    if new <= old + tolerance:
        return Verdict(True, reason)
    return Verdict(False, f"{reason}: more than {tolerance:g} worse")


def _value(text: str) -> float | str:
    """A hyperparameter's number, however it is written."""
    try:
        return float(text)
    except ValueError:
        return text


def _baseline(channels: Iterable[ChannelOutputTypeDef]) -> str:
    sources = [channel["DataSource"] for channel in channels if channel["ChannelName"] == CHANNEL]
    return sources[0].get("S3DataSource", {}).get("S3Uri", "") if sources else ""
