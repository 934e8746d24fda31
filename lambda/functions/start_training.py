"""State machine → `start_training`: the records of an upload become a training job. By hand it starts the machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from ogiri_aws import jobs
from ogiri_aws.executions import start_execution
from ogiri_aws.settings import StartTrainingSettings
from ogiri_aws.uploads import upload_from
from ogiri_aws.variables import read

logger = Logger(service="start_training")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """`{"execution", "upload"}` from the state machine, as `prepare` returned it; else what `prepare` takes."""
    settings = read(StartTrainingSettings)
    upload = upload_from(event.get("upload", event))
    if "execution" not in event:
        answer = {"execution": start_execution(boto3.client("stepfunctions"), settings.state_machine_arn, upload)}
    else:
        clients = boto3.client("sagemaker"), boto3.client("s3")
        answer = asdict(jobs.start(*clients, settings, upload, event["execution"]))
    logger.info("started", extra={"upload": str(upload), **answer})
    return answer
