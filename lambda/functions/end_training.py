"""EventBridge → `end_training`: a finished job's model serves, or somebody is told why not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from ogiri_aws.deployment import Deployment
from ogiri_aws.settings import EndTrainingSettings
from ogiri_aws.variables import read

logger = Logger(service="end_training")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """The event of a job, or of a model package of the registry. Raises where the event should come again."""
    deployment = Deployment(
        boto3.client("sagemaker"),
        boto3.client("sns"),
        read(EndTrainingSettings),
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
    outcome = asdict(deployment.handle(event))
    logger.info("handled", extra=outcome)
    return outcome
