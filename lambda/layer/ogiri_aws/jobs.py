"""An upload → a training job of SageMaker, one however often it is asked for.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ogiri.sagemaker.training.metrics import metric_definitions
from ogiri_aws.endpoints import endpoint_name, serving_model
from ogiri_aws.finished import CHANNEL, PROJECT_TAG, describe
from ogiri_aws.settings import StartTrainingSettings
from ogiri_aws.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

STARTS = "start_from_model"  # a hyperparameter
FAST_FILE_BYTES = 10 * 1024**3  # from here on pictures are streamed instead of copied before the job begins
STEM_CHARACTERS = 20

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Started:
    """What `start` did.

    Attributes:
        training_job: its name.
        started: False when the same event had started it before.
    """

    training_job: str
    started: bool


def job_name(project: str, upload: Upload, execution: str) -> str:
    """At most 63 characters; the same for the same upload, and for a start by hand for the same execution."""
    source = "\n".join((upload.bucket, upload.key, upload.version or f"execution {execution}"))
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    stem = _NOT_IN_A_NAME.sub("-", PurePosixPath(upload.key).stem)[:STEM_CHARACTERS].strip("-")
    return "-".join(filter(None, (project, stem, digest)))


def start(
    sagemaker: SageMakerClient, s3: S3Client, settings: StartTrainingSettings, upload: Upload, execution: str
) -> Started:
    """Create the job, unless it was created before.

    Raises:
        botocore's ClientError: SageMaker refuses it.
    """
    name = job_name(settings.project, upload, execution)
    try:
        sagemaker.create_training_job(**_request(sagemaker, s3, settings, name))
    except ClientError as error:
        if error.response["Error"].get("Code") != "ResourceInUse":
            raise
        return Started(name, started=False)
    return Started(name, started=True)


def _request(sagemaker: SageMakerClient, s3: S3Client, settings: StartTrainingSettings, name: str) -> Any:
    bucket = settings.bucket
    baseline = _model_of_serving(sagemaker, settings)
    tags = {**settings.training_tags, PROJECT_TAG: settings.project}
    region = sagemaker.meta.region_name
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": settings.training_image,
            "TrainingInputMode": "File",
            "MetricDefinitions": metric_definitions(),
        },
        "RoleArn": settings.training_role_arn,
        "HyperParameters": _hyperparameters(settings, baseline),
        "Environment": {
            "DYNAMODB_TABLE_NAME": settings.dynamodb_table_name,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            **_strings(settings.training_environment),
        },
        "InputDataConfig": _channels(s3, settings, baseline),
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{bucket}/models",
            **({"KmsKeyId": settings.kms_key_id} if settings.kms_key_id else {}),
        },
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{name}"},
        "ResourceConfig": {
            "InstanceType": settings.training_instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": settings.training_volume_gb,
            **({"VolumeKmsKeyId": settings.volume_kms_key_id} if settings.volume_kms_key_id else {}),
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.training_max_seconds},
        "Tags": [{"Key": key, "Value": value} for key, value in _strings(tags).items()],
    }
    if settings.training_spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = settings.training_max_wait_seconds
    if settings.subnet_ids:
        groups = list(settings.security_group_ids)
        request["VpcConfig"] = {"Subnets": list(settings.subnet_ids), "SecurityGroupIds": groups}
    return request


def _hyperparameters(settings: StartTrainingSettings, baseline: str | None) -> dict[str, str]:
    """Those that are set, and whether the model in the channel is more than something to compare with."""
    own = _strings(settings.training_hyperparameters)
    if baseline is None or settings.training_from_serving:
        return own
    return {STARTS: "false", **own}


def _channels(s3: S3Client, settings: StartTrainingSettings, baseline: str | None) -> list[dict[str, Any]]:
    mode = settings.training_input_mode
    if mode == "auto":
        large = _reaches(s3, settings.bucket, settings.images_prefix, FAST_FILE_BYTES)
        mode = "FastFile" if large else "File"
    channels = [_channel("training", f"s3://{settings.bucket}/{settings.images_prefix}", mode)]
    if settings.pretrained_s3_uri:
        channels.append(_channel("pretrained", settings.pretrained_s3_uri, "File"))
    if baseline is not None:
        channels.append(_channel(CHANNEL, baseline, "File"))
    return channels


def _channel(name: str, uri: str, mode: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": mode}


def _model_of_serving(sagemaker: SageMakerClient, settings: StartTrainingSettings) -> str | None:
    """S3 URI of the model that serves, which the job compares its own with; None before the first one.

    To start from it, a job needs the folder: output.tar.gz lies there too, and has the weights.
    """
    model = serving_model(sagemaker, endpoint_name(settings.project, settings.endpoint_kind))
    serving = None if model is None else describe(sagemaker, model)
    if serving is None or not serving.artifact:  # nobody's, or somebody else's
        return None
    return serving.artifact.rpartition("/")[0] + "/" if settings.training_from_serving else serving.artifact


def _reaches(s3: S3Client, bucket: str, prefix: str, limit: int) -> bool:
    total = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        total += sum(entry["Size"] for entry in page.get("Contents", ()))
        if total >= limit:
            return True
    return False


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    """As SageMaker takes them, and as the job reads them back: JSON, or the string as it is."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
