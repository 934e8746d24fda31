"""State machine → `ingest`: a batch of items becomes pictures in S3 and records in DynamoDB."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from ogiri_aws.batch import ingest_batch
from ogiri_aws.clients import connect
from ogiri_aws.settings import IngestSettings
from ogiri_aws.variables import read

logger = Logger(service="ingest")
clients = cache(connect)  # kept by a warm function


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"Items": […], "BatchInput": {"execution"}}`; the answer comes back as an event while `unfinished` is not 0."""
    settings = read(IngestSettings)
    connected = clients(settings.ingest_threads, settings.picture_networks)
    seconds_left = lambda: context.get_remaining_time_in_millis() / 1000  # noqa: E731
    answer, report = ingest_batch(connected, settings, event, seconds_left)
    for error in report.errors:
        logger.warning("row left out", extra=asdict(error))
    logger.info("ingested", extra={name: answer[name] for name in ("report", "unfinished", "errors_key")})
    return answer
