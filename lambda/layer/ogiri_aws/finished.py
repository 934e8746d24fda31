"""A training job that has ended, as SageMaker describes it, and whether its model is worth serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ogiri_aws.endpoints import is_missing
from ogiri_aws.jobs import PROJECT_TAG

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

FIGURE = "validation_nats_per_character"
SPLIT = ("task", "seed", "validation_fraction")  # with these the same a picture is held out by both jobs, or by none


@dataclass(frozen=True)
class FinishedJob:
    """A training job.

    Attributes:
        name: also of its model.
        arn: for its tags.
        status: `Completed`, `Failed`, `Stopped`, or one of a job that still runs.
        reason: why it failed, empty otherwise.
        artifact: S3 URI of its model.tar.gz, empty when there is none.
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
    """Compare a new model with the serving one, where both were measured on the same held-out pictures.

    The split is a hash of seed and picture: as data grows, pictures come to the held-out ones and none leaves them.

    Args:
        job: of the new model.
        serving: of the model that serves; None when there is none.
        tolerance: how much worse it may be, in nats a character; negative lets everything pass.
    """
    if tolerance < 0:
        return Verdict(True, "GATE_TOLERANCE is negative: nothing is compared")
    if serving is None or serving.name == job.name:
        return Verdict(True, "no other model serves")
    different = [name for name in SPLIT if job.hyperparameters.get(name) != serving.hyperparameters.get(name)]
    if different:
        return Verdict(True, f"not comparable with {serving.name}: another {' and '.join(different)}")
    if FIGURE not in job.metrics or FIGURE not in serving.metrics:
        return Verdict(True, f"not comparable with {serving.name}: one of the two jobs has no {FIGURE}")
    new, old = job.metrics[FIGURE], serving.metrics[FIGURE]
    reason = f"{FIGURE} is {new:.4f}, that of the serving {serving.name} {old:.4f}"
    if new <= old + tolerance:
        return Verdict(True, reason)
    return Verdict(False, f"{reason}: more than {tolerance:g} worse")
