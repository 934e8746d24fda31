"""The operations on training jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.sagemaker import training_run
from local.sagemaker.launch import Launcher
from local.sagemaker.refusal import Refusal, invalid
from local.sagemaker.shelf import Shelf, arn_of
from local.sagemaker.training_job import TrainingJob
from local.sagemaker.training_run import TrainingRun

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Body = dict[str, Any]


class Training:
    """Training jobs, each in a thread and a folder of its own.

    Args:
        folder: gets one folder a job.
        s3: makes a client.
        launcher: starts the programs.
        changed: called with a job whenever its status is another.
        grace_seconds: between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        folder: Path,
        s3: Callable[[], S3Client],
        launcher: Launcher,
        changed: Callable[[TrainingJob], object],
        grace_seconds: float = training_run.GRACE_SECONDS,
    ) -> None:
        self._folder = folder
        self._s3 = s3
        self._launcher = launcher
        self._changed = changed
        self._grace_seconds = grace_seconds
        self._threads: list[threading.Thread] = []
        self.jobs: Shelf[TrainingJob] = Shelf("training job")

    def create(self, body: Body) -> Body:
        """CreateTrainingJob."""
        training_run.check(body)
        name = body["TrainingJobName"]
        job = TrainingJob(name, arn_of("training-job", name), body)
        job.enter("Starting")
        try:
            self.jobs.add(job)
        except Refusal as error:
            message = "Training job names must be unique within an AWS account and region, and a training job with"
            raise Refusal("ResourceInUse", f"{message} this name already exists ({job.arn})") from error
        run = TrainingRun(job, self._folder / name, self._s3(), self._launcher, self._grace_seconds)
        thread = threading.Thread(target=self._run, args=(run,), name=f"training {name}")
        self._threads.append(thread)
        thread.start()
        return {"TrainingJobArn": job.arn}

    def describe(self, body: Body) -> Body:
        """DescribeTrainingJob."""
        return self._job(body).describe()

    def stop(self, body: Body) -> Body:
        """StopTrainingJob."""
        job = self._job(body)
        if job.status not in ("InProgress", "Stopping"):
            raise invalid(f"The request was rejected because the training job is in status {job.status}.")
        job.stop()
        self._changed(job)
        return {}

    def list(self, body: Body) -> Body:
        """ListTrainingJobs."""
        found, more = self.jobs.page(body)
        return {"TrainingJobSummaries": [job.summary() for job in found], **more}

    def close(self) -> None:
        """Stop what runs, and wait for it."""
        for job in self.jobs.all():
            job.stop()
        for thread in self._threads:
            thread.join()

    def _run(self, run: TrainingRun) -> None:
        self._changed(run.job)
        run.run()
        self._changed(run.job)

    def _job(self, body: Body) -> TrainingJob:
        try:
            return self.jobs.get(body["TrainingJobName"])
        except Refusal as error:
            raise invalid("Requested resource not found.") from error
