"""The whole of the local SageMaker, for as long as a `with` block lasts.

with embedded_aws() as aws, local_sagemaker(aws.process_environment(), folder) as url:
    boto3.client("sagemaker", endpoint_url=url).create_training_job(…)
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from local.sagemaker import training_run
from local.sagemaker.asynchronous import Asynchronous
from local.sagemaker.catalog import Catalog
from local.sagemaker.control import Control
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.event import Bus, Target, training_job_event
from local.sagemaker.http_server import SageMakerServer
from local.sagemaker.launch import Containers, Launcher, Processes
from local.sagemaker.runtime import ANSWER_SECONDS, Runtime
from local.sagemaker.training import Training
from local.sagemaker.training_job import TrainingJob

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextlib.contextmanager
def local_sagemaker(
    environment: Mapping[str, str],
    folder: Path,
    *,
    port: int = 0,
    targets: Sequence[Target] = (),
    engine: str | None = None,
    launcher: Launcher | None = None,
    grace_seconds: float = training_run.GRACE_SECONDS,
    answer_seconds: float = ANSWER_SECONDS,
) -> Iterator[str]:
    """Serve both APIs; jobs and endpoints end with the block.

    Args:
        environment: of the programs that are started, and where S3 is found: `AWS_ENDPOINT_URL`, region and keys.
        folder: for everything that jobs and endpoints have on disk.
        port: 0 takes a free one.
        targets: get the events of training jobs.
        engine: `podman` or `docker` runs the image that a request names; None runs `container/` as processes.
        launcher: runs them another way.
        grace_seconds: of a job, between SIGTERM and SIGKILL.
        answer_seconds: that a call of an endpoint may take.

    Yields:
        The address, for AWS_ENDPOINT_URL_SAGEMAKER and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME.
    """
    started = launcher or (Containers(engine, environment) if engine else Processes(environment))
    bus = Bus(targets)

    def changed(job: TrainingJob) -> None:
        bus.send(training_job_event(job.describe()))

    def s3() -> S3Client:
        return _s3(environment)

    training = Training(folder / "training-jobs", s3, started, changed, grace_seconds)
    catalog = Catalog()
    endpoints = Endpoints(folder / "endpoints", s3, started, catalog)
    control, runtime = Control(training, catalog, endpoints), Runtime(endpoints, answer_seconds)
    asynchronous = Asynchronous(runtime, s3)
    with SageMakerServer(port, control, runtime, asynchronous) as server:
        thread = threading.Thread(target=server.serve_forever, name="sagemaker")
        thread.start()
        try:
            yield server.url
        finally:
            training.close()
            bus.close()
            asynchronous.close()
            endpoints.close()
            server.shutdown()
            thread.join()


def _s3(environment: Mapping[str, str]) -> S3Client:
    session = boto3.session.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    url = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    return session.client("s3", endpoint_url=url)
