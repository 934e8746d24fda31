"""What the Lambdas are told by environment variables, a dataclass for each: `variables.read(PrepareSettings)`.

lambda/README.md lists them all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ogiri_aws.variables import SettingsError, Texts, check_at_least, check_choice, check_percent, wrong

KINDS = ("serverless", "realtime", "async")
INPUT_MODES = ("auto", "File", "FastFile")


@dataclass(frozen=True)
class PrepareSettings:
    """Of `prepare`.

    Attributes:
        bucket: where `ingest/EXECUTION/items.json` goes.
    """

    bucket: str


@dataclass(frozen=True)
class IngestSettings:
    """Of `ingest`.

    Attributes:
        bucket: for pictures and error reports.
        dynamodb_table_name: of the records.
        images_prefix: folder of the pictures in the bucket.
        ingest_threads: pictures at a time.
        ingest_attempts: times that a busy service is waited for, in all, before its rows are reported.
        rekognition_min_confidence: 0 to 100, of labels.
        rekognition_max_labels: the best so many.
        rekognition_text: ask DetectText too.
        rekognition_moderation_confidence: 1 to 100: a picture with a moderation label as sure as that is left out; 0
            asks for none.
        picture_networks: networks besides the public ones that pictures may come from, `10.1.0.0/16`.
    """

    bucket: str
    dynamodb_table_name: str
    images_prefix: str = "images/"
    ingest_threads: int = 16
    ingest_attempts: int = 5
    rekognition_min_confidence: float = 30.0
    rekognition_max_labels: int = 10
    rekognition_text: bool = True
    rekognition_moderation_confidence: float = 0.0
    picture_networks: Texts = ()

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least(self, 1, "ingest_threads", "ingest_attempts", "rekognition_max_labels")
        check_percent(self, "rekognition_min_confidence", "rekognition_moderation_confidence")
        for network in self.picture_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise wrong("picture_networks", network, "networks as 10.1.0.0/16, separated by commas") from error


@dataclass(frozen=True)
class StartTrainingSettings:
    """Of `start_training`.

    Attributes:
        project: names of jobs start with it, and their tag `project` has it.
        bucket: of pictures, checkpoints and models.
        state_machine_arn: of what a start by hand starts.
        dynamodb_table_name: of the records.
        training_image: the image in ECR.
        training_role_arn: the role of the job.
        training_hyperparameters: JSON object.
        training_environment: JSON object, more variables of the job.
        training_input_mode: of the pictures; `auto` takes FastFile from 10 GiB on.
        training_volume_gb: disk of the job.
        training_max_seconds: of training.
        training_spot: use spot instances.
        training_max_wait_seconds: training and waiting for spot instances together.
        training_tags: JSON object, more tags of the job.
        pretrained_s3_uri: folder for the channel `pretrained`, none when empty.
        training_from_serving: give the job what the serving model's job left, as channel `model`.
        endpoint_kind: the endpoint that such a model serves.
        images_prefix: folder of the pictures in the bucket.
        subnet_ids, security_group_ids: both or neither.
        kms_key_id: for the output.
        volume_kms_key_id: for the disk; not for instances with a disk of their own, ml.g5 among them.
    """

    project: str
    bucket: str
    state_machine_arn: str
    dynamodb_table_name: str
    training_image: str
    training_role_arn: str
    training_instance_type: str = "ml.g5.xlarge"
    training_hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    training_environment: Mapping[str, Any] = field(default_factory=dict)
    training_input_mode: str = "auto"
    training_volume_gb: int = 50
    training_max_seconds: int = 24 * 3600
    training_spot: bool = False
    training_max_wait_seconds: int = 48 * 3600
    training_tags: Mapping[str, Any] = field(default_factory=dict)
    pretrained_s3_uri: str = ""
    training_from_serving: bool = False
    endpoint_kind: str = "serverless"
    images_prefix: str = "images/"
    subnet_ids: Texts = ()
    security_group_ids: Texts = ()
    kms_key_id: str = ""
    volume_kms_key_id: str = ""

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        _project(self.project)
        check_choice(self, "training_input_mode", INPUT_MODES)
        check_choice(self, "endpoint_kind", KINDS)
        check_at_least(self, 1, "training_volume_gb", "training_max_seconds")
        if self.training_spot and self.training_max_wait_seconds < self.training_max_seconds:
            raise wrong(
                "training_max_wait_seconds",
                self.training_max_wait_seconds,
                f"TRAINING_MAX_SECONDS ({self.training_max_seconds}) or more, since it counts both",
            )
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            raise SettingsError("SUBNET_IDS and SECURITY_GROUP_IDS go together: set both, or neither")


@dataclass(frozen=True)
class EndTrainingSettings:
    """Of `end_training`.

    Attributes:
        project: jobs of another name or tag are passed over.
        serving_image: the image in ECR.
        serving_role_arn: the role of the model.
        topic_arn: who is told of a job that failed or a model that was refused.
        endpoint_kind: `serverless`, `realtime` or `async`; the endpoint's name ends in it.
        serving_environment: JSON object, variables of the container.
        serverless_memory_mb: 1024 to 6144.
        serverless_max_concurrency: requests at a time.
        endpoint_instance_type, endpoint_instance_count: of the kinds realtime and async.
        inference_ami_version: host image of the kinds realtime and async, whose NVIDIA driver must know the container's
            CUDA; SageMaker's default when empty.
        async_output_s3_uri: where answers of the kind async go, and below `failed/` what went wrong.
        keep_models: so many models and configurations stay, besides the one that serves.
        gate_tolerance: how much worse than the serving model a new one may be, in nats a character; negative deploys
            whatever was trained.
        model_package_group: registers each model there when not empty.
        model_approval: `Approved` deploys at once, `PendingManualApproval` when somebody has approved.
        kms_key_id: for the disk of endpoints.
        subnet_ids, security_group_ids: both or neither.
        endpoint_wait_seconds: between two looks at an endpoint that is being changed.
    """

    project: str
    serving_image: str
    serving_role_arn: str
    topic_arn: str
    endpoint_kind: str = "serverless"
    serving_environment: Mapping[str, Any] = field(default_factory=dict)
    serverless_memory_mb: int = 3072
    serverless_max_concurrency: int = 5
    endpoint_instance_type: str = "ml.c6i.large"
    endpoint_instance_count: int = 1
    inference_ami_version: str = ""
    async_output_s3_uri: str = ""
    keep_models: int = 3
    gate_tolerance: float = 0.05
    model_package_group: str = ""
    model_approval: str = "Approved"
    kms_key_id: str = ""
    subnet_ids: Texts = ()
    security_group_ids: Texts = ()
    endpoint_wait_seconds: float = 15.0

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        _project(self.project)
        check_choice(self, "endpoint_kind", KINDS)
        check_choice(self, "model_approval", ("Approved", "PendingManualApproval"))
        check_at_least(self, 1, "keep_models", "endpoint_instance_count", "serverless_max_concurrency")
        if self.endpoint_kind == "async" and not self.async_output_s3_uri.startswith("s3://"):
            raise wrong("async_output_s3_uri", self.async_output_s3_uri, "s3://BUCKET/FOLDER for the kind async")
        if self.model_approval != "Approved" and not self.model_package_group:
            raise SettingsError("MODEL_PACKAGE_GROUP is not set: models wait for MODEL_APPROVAL in one")
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            raise SettingsError("SUBNET_IDS and SECURITY_GROUP_IDS go together: set both, or neither")


@dataclass(frozen=True)
class CaptionSettings:
    """Of `caption_api`.

    Attributes:
        endpoint_name: who makes the lines.
        endpoint_kind: `serverless`, `realtime` or `async`.
        results_table_name: of the answers.
        bucket: for requests of the kind async, and for pictures.
        result_days: after so many days DynamoDB deletes an answer.
        caption_budget_seconds: for an answer; API Gateway waits 30 s at most.
        caption_labels: ask Rekognition about the picture first.
        rekognition_text: ask for its text too.
        keep_pictures: below `captioned/` in the bucket, so that people's stars can become training rows.
    """

    endpoint_name: str
    results_table_name: str
    bucket: str = ""
    endpoint_kind: str = "serverless"
    result_days: int = 30
    caption_budget_seconds: float = 28.0
    caption_labels: bool = False
    rekognition_text: bool = True
    keep_pictures: bool = False

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        check_choice(self, "endpoint_kind", KINDS)
        check_at_least(self, 1, "result_days", "caption_budget_seconds")
        if self.keep_pictures and not self.bucket:
            raise SettingsError("BUCKET is not set: KEEP_PICTURES keeps them in one")
        if self.endpoint_kind == "async" and not self.bucket:
            raise SettingsError("BUCKET is not set: requests of the kind async wait in one")


def _project(name: str) -> None:
    # `PROJECT-NAME-0123456789ab` must fit into the 63 characters of a job's name, a configuration's too.
    if not name.replace("-", "").isalnum() or not name.isascii() or name.strip("-") != name or len(name) > 20:
        raise wrong("project", name, "1 to 20 of A-Z, a-z, 0-9 and hyphens inside")
