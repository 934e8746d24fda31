"""Model registry: each model becomes a version of one group, and somebody may have to approve it.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ogiri_aws.finished import FinishedJob

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

JOB = "training_job"
CONTENT_TYPES = ["image/jpeg", "image/png", "image/webp", "application/json", "application/jsonlines"]
RESPONSE_TYPES = ["application/json", "application/jsonlines", "text/plain"]


def register(sagemaker: SageMakerClient, group: str, job: FinishedJob, image: str, approval: Any) -> bool:
    """Register the model of a job; False if it was registered before.

    Args:
        sagemaker: the client.
        group: name of the model package group.
        job: whose model it is.
        image: that serves it.
        approval: `Approved`, `PendingManualApproval` or `Rejected`.
    """
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    if any(
        known.get("ModelPackageDescription") == job.name for page in pages for known in page["ModelPackageSummaryList"]
    ):
        return False
    sagemaker.create_model_package(
        ModelPackageGroupName=group,
        ModelPackageDescription=job.name,
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": job.artifact}],
            "SupportedContentTypes": CONTENT_TYPES,
            "SupportedResponseMIMETypes": RESPONSE_TYPES,
        },
        ModelApprovalStatus=approval,
        CustomerMetadataProperties={JOB: job.name, **{name: f"{value:g}" for name, value in job.metrics.items()}},
    )
    return True


def job_of(sagemaker: SageMakerClient, package_arn: str) -> str:
    """The name of the job whose model a package is; empty for a package that `register` did not make."""
    package = sagemaker.describe_model_package(ModelPackageName=package_arn)
    return package.get("CustomerMetadataProperties", {}).get(JOB, "")
