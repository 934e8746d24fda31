"""One execution for each upload, however often its event is delivered.

EventBridge delivers an event at least once. Two executions at once would end in the same records, but would have
Rekognition analyse each picture twice. The first one leaves its name in S3, which lets one of two writers win:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ogiri_aws.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FOLDER = "ingest/claims"

_LOST = ("PreconditionFailed", "ConditionalRequestConflict")  # written before, written at the same moment


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


def claim(s3: S3Client, bucket: str, upload: Upload, execution: str) -> str:
    """Claim an upload for an execution, unless another was faster; returns whose it is.

    A start by hand has no version: it is meant, and is its own each time. An execution that is driven again after it
    failed finds its own name.

    Raises:
        botocore's ClientError: S3 refuses to write or to read.
    """
    if not upload.version:
        return execution
    digest = hashlib.sha256("\n".join((upload.bucket, upload.key, upload.version)).encode()).hexdigest()
    key = f"{FOLDER}/{digest}"
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=execution.encode(), ContentType="text/plain", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"].get("Code") not in _LOST:
            raise
        with s3.get_object(Bucket=bucket, Key=key)["Body"] as body:
            return body.read().decode()
    return execution
