"""Starting the state machine, by hand or with an event."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ogiri_aws.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def start_execution(states: SFNClient, state_machine_arn: str, upload: Upload) -> str:
    """Start the state machine with an upload; returns the execution's name.

    The same event starts one execution; a start by hand, which has no version, starts a new one each time.

    Raises:
        botocore's ClientError: it cannot be started.
    """
    value = {"bucket": upload.bucket, "key": upload.key, "version": upload.version, "version_id": upload.version_id}
    text = json.dumps(value, ensure_ascii=False)
    if not upload.version:
        return states.start_execution(stateMachineArn=state_machine_arn, input=text)["executionArn"].rpartition(":")[2]
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    try:
        states.start_execution(stateMachineArn=state_machine_arn, name=name, input=text)
    except ClientError as error:
        if error.response["Error"].get("Code") != "ExecutionAlreadyExists":
            raise
    return name
