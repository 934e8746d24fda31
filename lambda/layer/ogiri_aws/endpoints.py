"""The endpoint that serves: created once, then updated without a moment of silence.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ogiri_aws.settings import EndTrainingSettings

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

VARIANT = "AllTraffic"
RESERVE_SECONDS = 20.0  # left to the function when it gives up waiting

_CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


class EndpointBusyError(Exception):
    """The endpoint is being changed for longer than this call lasts; calling again later goes on."""


def endpoint_name(project: str, kind: str) -> str:
    """`ogiri-serverless`: each kind has an endpoint of its own, since one cannot turn into another."""
    return f"{project}-{kind}"


def is_missing(error: ClientError) -> bool:
    """SageMaker's way of saying 404."""
    detail = error.response["Error"]
    if detail.get("Code") == "ResourceNotFound":
        return True
    message = detail.get("Message", "")
    return detail.get("Code") == "ValidationException" and ("Could not find" in message or "not found" in message)


def is_present(error: ClientError) -> bool:
    """SageMaker's way of saying that a name is taken."""
    detail = error.response["Error"]
    if detail.get("Code") == "ResourceInUse":
        return True
    return detail.get("Code") == "ValidationException" and "already exist" in detail.get("Message", "")


def status(sagemaker: SageMakerClient, name: str) -> tuple[str, str]:
    """Status and configuration of an endpoint; ("", "") when there is none."""
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if is_missing(error):
            return "", ""
        raise
    return endpoint["EndpointStatus"], endpoint.get("EndpointConfigName", "")


def serving_model(sagemaker: SageMakerClient, name: str) -> str | None:
    """The model of an endpoint, which has the name of its training job; None when there is no endpoint."""
    _, config = status(sagemaker, name)
    if not config:
        return None
    try:
        described = sagemaker.describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return described["ProductionVariants"][0]["ModelName"]


def config_for(settings: EndTrainingSettings, model: str) -> dict[str, Any]:
    """The request for a configuration; its name tells model and content, so other settings give another name."""
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model}
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if settings.endpoint_kind == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": settings.serverless_memory_mb,
            "MaxConcurrency": settings.serverless_max_concurrency,
        }
    else:
        variant["InstanceType"] = settings.endpoint_instance_type
        variant["InitialInstanceCount"] = settings.endpoint_instance_count
        if settings.inference_ami_version:
            variant["InferenceAmiVersion"] = settings.inference_ami_version
        if settings.kms_key_id:
            request["KmsKeyId"] = settings.kms_key_id
    if settings.endpoint_kind == "async":
        answers = settings.async_output_s3_uri.rstrip("/")
        output = {"S3OutputPath": answers, "S3FailurePath": f"{answers}/failed"}
        request["AsyncInferenceConfig"] = {"OutputConfig": output}
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:8]
    return {"EndpointConfigName": f"{model[:54]}-{digest}", **request}


def deploy(
    sagemaker: SageMakerClient,
    name: str,
    config: str,
    tags: Any,
    wait_seconds: float,
    seconds_left: Callable[[], float],
) -> str:
    """Let the endpoint serve a configuration; returns `created`, `updated` or `unchanged`.

    An endpoint that is being changed is waited for; one that failed, which SageMaker only allows to delete, is made
    again.

    Raises:
        EndpointBusyError: it is being changed until the time is over.
    """
    while True:
        state, serving = status(sagemaker, name)
        if not state:
            if _created(sagemaker, name, config, tags):
                return "created"
            continue
        if serving == config and state not in ("Failed", "Deleting"):
            return "unchanged"
        if state == "InService":
            sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
            return "updated"
        if state == "Failed":
            sagemaker.delete_endpoint(EndpointName=name)
        elif state not in _CHANGING:
            raise EndpointBusyError(f"endpoint {name} is {state}: look at it in the console, then send the event again")
        if seconds_left() < wait_seconds + RESERVE_SECONDS:
            raise EndpointBusyError(f"endpoint {name} is still {state}: the event comes again later")
        time.sleep(wait_seconds)


def _created(sagemaker: SageMakerClient, name: str, config: str, tags: Any) -> bool:
    try:
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=tags)
    except ClientError as error:
        if is_present(error):  # the same event, twice at once
            return False
        raise
    return True
