"""S3 and DynamoDB on loopback, for as long as a `with` block lasts.

with embedded_aws() as aws, aws.applied():
    boto3.client("s3").list_objects_v2(Bucket=aws.bucket)
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from local.process import running

REGION = "ap-northeast-1"
BUCKET = "ogiri-local"
TABLE = "OgiriTrainingDataTable"
_ADDRESS = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True)
class EmbeddedAWS:
    """An AWS that lives on this machine.

    Attributes:
        endpoint_url: where S3 and DynamoDB answer.
        environment: the variables that lead boto3 there. An `AWS_CA_BUNDLE` or `AWS_PROFILE` beside them must go:
            `process_environment` and `applied` see to it.
        bucket: name of the bucket, empty when none was asked for.
        table: name of the DynamoDB table, empty when none was asked for.
    """

    endpoint_url: str
    environment: Mapping[str, str]
    bucket: str
    table: str

    def client(self, service: str) -> Any:
        """A boto3 client, whatever this process's own environment says."""
        return self._session().client(service, endpoint_url=self._endpoint(service))

    def resource(self, service: str) -> Any:
        """A boto3 resource (`dynamodb`, `s3`)."""
        return self._session().resource(service, endpoint_url=self._endpoint(service))

    def with_rekognition(self, endpoint_url: str) -> EmbeddedAWS:
        """The same, with Rekognition answered at `endpoint_url`."""
        environment = {**self.environment, "AWS_ENDPOINT_URL_REKOGNITION": endpoint_url}
        return dataclasses.replace(self, environment=environment)

    def process_environment(self) -> dict[str, str]:
        """This process's environment with every `AWS_…` of the user replaced by `environment`: what a child gets."""
        rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**rest, **self.environment}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let boto3 in this process use it, until the block ends."""
        before = dict(os.environ)
        changed = self.process_environment()
        try:
            _replace_environment(changed)
            yield
        finally:
            _replace_environment(before)

    def _session(self) -> Any:
        return boto3.session.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )

    def _endpoint(self, service: str) -> str:
        return self.environment.get(f"AWS_ENDPOINT_URL_{service.upper()}", self.endpoint_url)


@contextlib.contextmanager
def embedded_aws(
    *, bucket: str | None = BUCKET, table: str | None = TABLE, log: Path | None = None, functions: str | None = None
) -> Iterator[EmbeddedAWS]:
    """Start an empty S3 and DynamoDB on a free port, and end them with the block.

    Args:
        bucket: bucket to create; None for none.
        table: table to create, with the keys of a training record; None for none.
        log: file for the server's log, a temporary one by default. Its last lines are in the error if it fails.
        functions: URL of what answers Lambda's Invoke: with it stacks, rules and state machines work too.

    Raises:
        ProcessError: the server does not start.
    """
    with contextlib.ExitStack() as stack:
        if log is None:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ogiri-aws-"))) / "moto.log"
        log_file = log
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        if functions is not None:
            command = [sys.executable, "-m", "local.emulation", "--functions", functions]
        endpoint_url = stack.enter_context(
            running(command, log=log_file, ready=lambda: _address(log_file), environment=_server_environment())
        )
        aws = EmbeddedAWS(endpoint_url, _environment(endpoint_url), bucket or "", table or "")
        if bucket:
            location = {"LocationConstraint": REGION}
            aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        if table:
            _create_table(aws, table)
        yield aws


def _create_table(aws: EmbeddedAWS, table: str) -> None:
    keys = {"ImageKey": "HASH", "ExpectedResult": "RANGE"}
    client = aws.client("dynamodb")
    client.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _address(log: Path) -> str | None:
    found = _ADDRESS.search(log.read_text(encoding="utf-8", errors="replace"))
    return found.group(1) if found else None


def _environment(endpoint_url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **_exempt(),
    }


def _exempt() -> dict[str, str]:
    exempt = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
    no_proxy = ",".join(part for part in exempt if part)
    return {"NO_PROXY": no_proxy, "no_proxy": no_proxy}


def _server_environment() -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**rest, **_exempt(), "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _replace_environment(environment: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
