"""An event of a training job → an endpoint that serves its model, or somebody who knows why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ogiri_aws import endpoints, finished, registry
from ogiri_aws.cleanup import remove_old
from ogiri_aws.finished import PROJECT_TAG, FinishedJob, Verdict
from ogiri_aws.settings import EndTrainingSettings

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sns import SNSClient

JOB_EVENT = "SageMaker Training Job State Change"
PACKAGE_EVENT = "SageMaker Model Package State Change"
TOLD_TAG = "told"  # of a job that somebody was told about, so that the same event tells nobody twice
AWAITS_APPROVAL = "registered"
MAX_SUBJECT = 100  # characters, of SNS


class EventError(ValueError):
    """An event that `end_training` is not for."""


@dataclass(frozen=True)
class Outcome:
    """What an event led to.

    Attributes:
        action: `created`, `updated` or `unchanged` (the endpoint), `ignored`, `registered` (awaits approval), `refused`
            (by the gate) or `told` (of a failure).
        reason: why.
        training_job: its name.
    """

    action: str
    reason: str
    training_job: str


@dataclass(frozen=True)
class Deployment:
    """What the events of this project lead to. Any of them may come twice, late or in another order.

    Attributes:
        sagemaker, sns: clients.
        settings: of the function.
        seconds_left: until the function is ended.
    """

    sagemaker: SageMakerClient
    sns: SNSClient
    settings: EndTrainingSettings
    seconds_left: Callable[[], float]

    def handle(self, event: Mapping[str, Any]) -> Outcome:
        """Do what an event of EventBridge asks for.

        Raises:
            EventError: it is of another type.
            EndpointBusyError: the endpoint is being changed; the same event should come again later.
        """
        detail, kind = event.get("detail"), event.get("detail-type")
        if isinstance(detail, Mapping) and kind == JOB_EVENT and "TrainingJobName" in detail:
            return self._ended(str(detail["TrainingJobName"]))
        if isinstance(detail, Mapping) and kind == PACKAGE_EVENT and "ModelPackageArn" in detail:
            return self._approved(detail)
        raise EventError(f"the event is {kind!r}: it must be {JOB_EVENT!r} or {PACKAGE_EVENT!r}, with its detail")

    def _ended(self, name: str) -> Outcome:
        # The event may be late: SageMaker itself says what the job is now.
        job = self._job(name)
        if job is None:
            return Outcome("ignored", f"it is no job of the project {self.settings.project}", name)
        if job.status in ("Failed", "Stopped"):
            return self._tell(job, "told", f"training job {name} {job.status.lower()}: {job.reason or _STOPPED}")
        if job.status != "Completed":
            return Outcome("ignored", f"it is {job.status}: the event of its end is still to come", name)
        if not job.artifact:
            return self._tell(job, "told", f"training job {name} left no model.tar.gz")
        serving = self._serving_job()
        if serving is not None and serving.created > job.created:
            return Outcome("ignored", f"{serving.name}, which serves, was started later", name)
        verdict = finished.judge(job, serving, self.settings.gate_tolerance)
        if self.settings.model_package_group:
            self._register(job, verdict)
        if not verdict.passed:
            return self._tell(job, "refused", f"the model of {name} does not serve: {verdict.reason}")
        if self.settings.model_approval != "Approved":
            return self._tell(
                job,
                AWAITS_APPROVAL,
                f"the model of {name} serves once somebody has approved it in the model package group "
                f"{self.settings.model_package_group}",
            )
        return self._deploy(job, verdict.reason)

    def _approved(self, detail: Mapping[str, Any]) -> Outcome:
        group, approval = detail.get("ModelPackageGroupName"), detail.get("ModelApprovalStatus")
        package = str(detail["ModelPackageArn"])
        if not self.settings.model_package_group or group != self.settings.model_package_group:
            return Outcome("ignored", f"the group {group} is not this project's", package)
        if approval != "Approved":
            return Outcome("ignored", f"{package} is {approval}", package)
        name = registry.job_of(self.sagemaker, package)
        job = self._job(name) if name else None
        if job is None:
            return Outcome("ignored", f"{package} is not of a job of the project {self.settings.project}", name)
        return self._deploy(job, "somebody approved it")

    def _deploy(self, job: FinishedJob, reason: str) -> Outcome:
        settings, name = self.settings, self._endpoint()
        before = endpoints.status(self.sagemaker, name)[1]
        config = endpoints.config_for(settings, job.name)
        tags: Any = [{"Key": PROJECT_TAG, "Value": settings.project}]
        _once(lambda: self.sagemaker.create_model(**self._model(job), Tags=tags))
        _once(lambda: self.sagemaker.create_endpoint_config(**config, Tags=tags))
        chosen = config["EndpointConfigName"]
        action = endpoints.deploy(self.sagemaker, name, chosen, tags, settings.endpoint_wait_seconds, self.seconds_left)
        remove_old(self.sagemaker, settings.project, settings.keep_models, {before, chosen}, {job.name})
        return Outcome(action, f"{name}: {reason}", job.name)

    def _model(self, job: FinishedJob) -> dict[str, Any]:
        settings = self.settings
        environment = {key: str(value) for key, value in settings.serving_environment.items()}
        groups, subnets = list(settings.security_group_ids), list(settings.subnet_ids)
        return {
            "ModelName": job.name,
            "PrimaryContainer": {
                "Image": settings.serving_image,
                "ModelDataUrl": job.artifact,
                "Environment": environment,
            },
            "ExecutionRoleArn": settings.serving_role_arn,
            **({"VpcConfig": {"SecurityGroupIds": groups, "Subnets": subnets}} if subnets else {}),
        }

    def _register(self, job: FinishedJob, verdict: Verdict) -> None:
        settings = self.settings
        approval = settings.model_approval if verdict.passed else "Rejected"
        registry.register(self.sagemaker, settings.model_package_group, job, settings.serving_image, approval)

    def _tell(self, job: FinishedJob, action: str, message: str) -> Outcome:
        if TOLD_TAG in job.tags:
            return Outcome(action, f"told before: {message}", job.name)
        became = {"refused": "refused", AWAITS_APPROVAL: "awaits approval"}.get(action, job.status.lower())
        subject = f"{self.settings.project}: {job.name} {became}"
        self.sns.publish(TopicArn=self.settings.topic_arn, Subject=subject[:MAX_SUBJECT], Message=message)
        self.sagemaker.add_tags(ResourceArn=job.arn, Tags=[{"Key": TOLD_TAG, "Value": action}])
        return Outcome(action, message, job.name)

    def _job(self, name: str) -> FinishedJob | None:
        if not name.startswith(f"{self.settings.project}-"):  # asks SageMaker nothing about the jobs of others
            return None
        job = finished.describe(self.sagemaker, name)
        return job if job is not None and job.belongs_to(self.settings.project) else None

    def _serving_job(self) -> FinishedJob | None:
        model = endpoints.serving_model(self.sagemaker, self._endpoint())
        return None if model is None else self._job(model)

    def _endpoint(self) -> str:
        return endpoints.endpoint_name(self.settings.project, self.settings.endpoint_kind)


_STOPPED = "it was stopped, by hand or at its longest time; what it had learned lies beside its output"


def _once(create: Callable[[], object]) -> None:
    try:
        create()
    except ClientError as error:
        if not endpoints.is_present(error):
            raise
