"""API Gateway (HTTP API) → `caption_api`: a picture in, lines out."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from ogiri_aws.api import answered, connect_api
from ogiri_aws.captioning import Captioning
from ogiri_aws.settings import CaptionSettings
from ogiri_aws.variables import read

logger = Logger(service="caption_api")
clients = cache(connect_api)  # kept by a warm function


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """POST /captions, GET /results/{id}, POST /results/{id}/score."""
    settings = read(CaptionSettings)
    connected = clients(settings.caption_budget_seconds)
    return answered(Captioning(connected, settings, context), event, context.aws_request_id, logger)
