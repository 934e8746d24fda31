"""Models and configurations that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ogiri_aws.endpoints import endpoint_name, is_missing, serving_model, status
from ogiri_aws.finished import PROJECT_TAG, tags
from ogiri_aws.settings import KINDS

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient


def remove_old(
    sagemaker: SageMakerClient, project: str, keep: int, configs_in_use: set[str], models_in_use: set[str]
) -> None:
    """Delete all but the `keep` newest models and configurations of a project, and those in use by any endpoint of it.

    The artifacts in S3 stay: a deleted model can be made again from them.

    Args:
        sagemaker: the client.
        project: whose; the tag decides.
        keep: so many of each.
        configs_in_use: that stay too, an endpoint may still be changing from one to another.
        models_in_use: that stay too.
    """
    served = [endpoint_name(project, kind) for kind in KINDS]
    configs_in_use = configs_in_use | {status(sagemaker, name)[1] for name in served}
    models_in_use = models_in_use | {serving_model(sagemaker, name) or "" for name in served}
    config_pages = sagemaker.get_paginator("list_endpoint_configs").paginate(
        NameContains=project, SortBy="CreationTime", SortOrder="Descending"
    )
    configs = [
        (entry["EndpointConfigName"], entry["EndpointConfigArn"])
        for page in config_pages
        for entry in page["EndpointConfigs"]
    ]
    for name in _old(sagemaker, project, keep, configs, configs_in_use):
        _delete(sagemaker, "endpoint_config", name)
    model_pages = sagemaker.get_paginator("list_models").paginate(
        NameContains=project, SortBy="CreationTime", SortOrder="Descending"
    )
    models = [(entry["ModelName"], entry["ModelArn"]) for page in model_pages for entry in page["Models"]]
    for name in _old(sagemaker, project, keep, models, models_in_use):
        _delete(sagemaker, "model", name)


def _old(
    sagemaker: SageMakerClient, project: str, keep: int, newest_first: Iterable[tuple[str, str]], in_use: set[str]
) -> list[str]:
    ours = [
        name
        for name, arn in newest_first
        if name.startswith(f"{project}-") and tags(sagemaker, arn).get(PROJECT_TAG) == project
    ]
    return [name for name in ours[keep:] if name not in in_use]


def _delete(sagemaker: SageMakerClient, kind: str, name: str) -> None:
    try:
        if kind == "model":
            sagemaker.delete_model(ModelName=name)
        else:
            sagemaker.delete_endpoint_config(EndpointConfigName=name)
    except ClientError as error:
        if not is_missing(error):  # another call was faster
            raise
