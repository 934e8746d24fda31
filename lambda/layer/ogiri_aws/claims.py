"""One execution for each upload, however often its event is delivered.

EventBridge delivers an event at least once. Two executions at once would end in the same records, but would have
Rekognition analyse each picture twice. The first one leaves its name in S3, which lets one of two writers win; once it
has failed, another may take its place:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ogiri_aws.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

FOLDER = "ingest/claims"

TRIES = 5  # where others write at the same moment

_OVER = ("FAILED", "TIMED_OUT", "ABORTED")


@dataclass(frozen=True)
class Taken:
    """An upload that another execution works on, or has worked on.

    Attributes:
        execution: that need not go on.
        upload: the CSV.
        taken_by: the execution that was first.
    """

    execution: str
    upload: Upload
    taken_by: str

    def to_json(self) -> dict[str, Any]:
        """What the state machine hands on."""
        return asdict(self)


def claim(s3: S3Client, bucket: str, upload: Upload, execution: str, is_over: Callable[[str], bool]) -> str:
    """Claim an upload for an execution, unless another was faster and has not failed; returns whose it is.

    A start by hand has no version: it is meant, and is its own each time. An execution that is tried again finds its
    own name.

    Args:
        s3: client.
        bucket: for the claims.
        upload: the CSV.
        execution: that wants it.
        is_over: whether the execution of a name has failed, so that its upload is free again.

    Raises:
        botocore's ClientError: S3 refuses to write or to read.
    """
    if not upload.version:
        return execution
    digest = hashlib.sha256("\n".join((upload.bucket, upload.key, upload.version)).encode()).hexdigest()
    place: Any = {"Bucket": bucket, "Key": f"{FOLDER}/{digest}"}
    owner = execution
    for _ in range(TRIES):
        if _put(s3, place, execution, IfNoneMatch="*"):
            return execution
        try:
            found = s3.get_object(**place)
        except ClientError as error:
            if error.response["Error"].get("Code") != "NoSuchKey":  # deleted meanwhile
                raise
            continue
        with found["Body"] as body:
            owner = body.read().decode()
        if owner == execution or not is_over(owner):
            return owner
        if _put(s3, place, execution, IfMatch=found["ETag"]):
            return execution
    return owner


def is_over(states: SFNClient, execution_arn: str) -> Callable[[str], bool]:
    """Whether another execution of the same state machine has failed, by its name.

    Args:
        states: client.
        execution_arn: of this one; without it nothing is known of others, and none is over.
    """

    def asked(name: str) -> bool:
        if not execution_arn:
            return False
        arn = f"{execution_arn.rpartition(':')[0]}:{name}"
        try:
            return states.describe_execution(executionArn=arn)["status"] in _OVER
        except ClientError as error:
            if error.response["Error"].get("Code") != "ExecutionDoesNotExist":
                raise
            return True

    return asked


def _put(s3: S3Client, place: Any, execution: str, **condition: Any) -> bool:
    """Write a claim if the condition holds."""
    try:
        s3.put_object(**place, Body=execution.encode(), ContentType="text/plain", **condition)
    except ClientError as error:
        if error.response["Error"].get("Code") not in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise
        return False
    return True
