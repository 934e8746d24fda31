"""Who is told how a job goes: its log, TensorBoard, and MLflow where $MLFLOW_TRACKING_URI names a server."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ogiri.sagemaker.training import failure, metrics, signals
from ogiri.sagemaker.training.environment import Environment, read_object
from ogiri.sagemaker.training.event_files import EventFiles
from ogiri.sagemaker.training.tracking import TrackedRun
from ogiri.task import UserError

SAMPLES_FILE = "samples.jsonl"  # of output/data
REPORTS = ("report.html", "metrics.json")  # of output/data; a run keeps them, with the model card


class Follower(Protocol):
    """Someone who is told."""

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of one event, all of them finite."""

    def close(self, status: str, reason: str) -> None:
        """Take the end: `FINISHED`, `KILLED` (asked to stop) or `FAILED` with its reason."""


@contextlib.contextmanager
def keep(job: Environment, hyperparameters: Any) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """What takes each event of a job, until the block ends; how it ends decides the status.

    The step of an event is its `epoch`, or one more than the last where it has none.

    Args:
        job: its folders and its name.
        hyperparameters: the checked dataclass.
    """
    followers = _followers(job, dataclasses.asdict(hyperparameters))
    step = 0

    def report(values: Mapping[str, float]) -> None:
        nonlocal step
        finite = metrics.report(values)
        step = int(finite.pop("epoch", step + 1))
        for follower in followers:
            follower.record(step, finite)

    try:
        yield report
    except BaseException as error:
        for follower in followers:
            follower.close("FAILED", failure.reason(error))
        raise
    for follower in followers:
        follower.close("KILLED" if signals.stopping() else "FINISHED", "")


def _followers(job: Environment, hyperparameters: Mapping[str, Any]) -> list[Follower]:
    followers: list[Follower] = [EventFiles(event_folder(job), hyperparameters, job.output_data / SAMPLES_FILE)]
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        files = [*(job.output_data / name for name in REPORTS), job.model / "MODEL_CARD.md"]
        followers.append(
            TrackedRun(uri, job.job_name, hyperparameters, _tags(job, hyperparameters), files, job.checkpoints)
        )
    return followers


def event_folder(job: Environment) -> Path:
    """Where SageMaker looks for TensorBoard files: output/tensorboard, or the `LocalPath` that the job was given.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TensorBoardOutputConfig.html

    Raises:
        UserError: the path is no string.
    """
    config = job.config / "tensorboardoutputconfig.json"
    given = read_object(config).get("LocalPath") or str(job.output / "tensorboard")
    if not isinstance(given, str):
        raise UserError(f"{config} has LocalPath {given!r}: it must be a folder")
    return Path(given)


def _tags(job: Environment, hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    known = {
        "training_job": job.job_name,
        "training_job_arn": os.environ.get("TRAINING_JOB_ARN"),
        "image": os.environ.get("OGIRI_IMAGE"),
        "task": hyperparameters.get("task"),
    }
    return {name: str(value) for name, value in known.items() if value}
