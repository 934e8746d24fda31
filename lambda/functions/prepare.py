"""State machine → `prepare`: an uploaded CSV becomes items, one a picture, for one execution."""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from ogiri_aws.claims import Taken, claim, is_over
from ogiri_aws.prepare import prepare
from ogiri_aws.settings import PrepareSettings
from ogiri_aws.uploads import upload_from
from ogiri_aws.variables import read

logger = Logger(service="prepare")


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"execution", "execution_arn", "upload"}`, the last an event or `{"bucket", "key"}`; or one of these alone."""
    settings = read(PrepareSettings)
    upload = upload_from(event.get("upload", event))
    execution = event.get("execution") or event.get("id") or context.aws_request_id
    logger.append_keys(upload=str(upload), execution=execution)
    s3 = boto3.client("s3")
    failed = is_over(boto3.client("stepfunctions"), event.get("execution_arn", ""))
    owner = claim(s3, settings.bucket, upload, execution, failed)
    if owner != execution:
        logger.warning("this upload is another execution's", extra={"taken_by": owner})
        return Taken(execution, upload, owner).to_json()
    prepared = prepare(s3, upload, settings.bucket, execution)
    logger.info("prepared", extra=prepared.to_json())
    return prepared.to_json()
