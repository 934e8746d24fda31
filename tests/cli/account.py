"""An account with the stack's bucket and tables, and the functions called as Lambda calls them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from local.aws import EmbeddedAWS
from tests.handlers import Context, load

ROOT = Path(__file__).resolve().parents[2]
OGIRI = ROOT / "scripts" / "ogiri"
SECONDS = 300
ARN = "arn:aws:iam::123456789012"

_serial = itertools.count()


def call(name: str, event: dict[str, Any]) -> dict[str, Any]:
    """The answer of a function, its settings from this process's environment."""
    return json.loads(json.dumps(load(name).lambda_handler(json.loads(json.dumps(event)), Context())))


@dataclass(frozen=True)
class Account:
    """Bucket with versions, tables, and what runs commands and functions in them."""

    aws: EmbeddedAWS
    bucket: str
    table: str
    results: str

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PROJECT": "ogiri",
            "BUCKET": self.bucket,
            "DYNAMODB_TABLE_NAME": self.table,
            "RESULTS_TABLE_NAME": self.results,
            "ENDPOINT_NAME": "ogiri-serverless",
            "STATE_MACHINE_ARN": "arn:aws:states:ap-northeast-1:123456789012:stateMachine:none",
            "TRAINING_IMAGE": "ogiri",
            "TRAINING_ROLE_ARN": f"{ARN}:role/ogiri-training",
            "SERVING_IMAGE": "ogiri",
            "SERVING_ROLE_ARN": f"{ARN}:role/ogiri-serving",
            "ENDPOINT_WAIT_SECONDS": "1",
            "KEEP_PICTURES": "true",
        }

    def environment(self, **more: str) -> dict[str, str]:
        rest = {name: value for name, value in self.aws.process_environment().items() if name not in self.variables}
        here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**rest, **self.variables, "PATH": here, **more}

    def run(self, *arguments: str | Path, without: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess:
        """The command line as a shell starts it."""
        environment = {name: value for name, value in self.environment(**more).items() if name not in without}
        return subprocess.run(
            [OGIRI, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=SECONDS
        )

    @contextlib.contextmanager
    def applied(self, **more: str) -> Iterator[None]:
        """This process's boto3 and functions are in the account."""
        with self.aws.applied():
            os.environ.update(self.variables | more)
            yield

    def ingest(self, key: str, execution: str = "run") -> dict[str, Any]:
        """`prepare`, then `ingest` for all of its items; what `prepare` says."""
        with self.applied():
            state = call("prepare", {"execution": execution, "upload": {"bucket": self.bucket, "key": key}})
            body = self.aws.client("s3").get_object(Bucket=self.bucket, Key=state["key"])["Body"].read()
            batch: dict[str, Any] = {"Items": json.loads(body), "BatchInput": {"execution": execution}}
            while batch.get("unfinished", 1):
                batch = call("ingest", batch)
        return state

    def records(self) -> set[tuple[str, str]]:
        items = self.aws.resource("dynamodb").Table(self.table).scan()["Items"]
        return {(item["ImageKey"], item["ExpectedResult"]) for item in items}

    def put(self, key: str, body: bytes | str) -> str:
        """Put an object; its address."""
        data = body.encode() if isinstance(body, str) else body
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=data)
        return f"s3://{self.bucket}/{key}"

    def versions(self, prefix: str) -> list[str]:
        """Keys below a prefix, one for each version and mark of deletion."""
        page = self.aws.client("s3").list_object_versions(Bucket=self.bucket, Prefix=prefix)
        return sorted(entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in page.get(kind, ()))

    def put_result(self, key: str, picture: str, *captions: tuple[str, int, int], **more: Any) -> None:
        """An answer of the API with (text, votes, stars) of each caption."""
        item = {
            "ResultId": key,
            "Status": "done",
            "ImageKey": picture,
            "Captions": [{"Text": text, "Score": 0, "Votes": votes, "Stars": stars} for text, votes, stars in captions],
            "Model": "ogiri-rows-1",
            "ExpiresAt": int(time.time()) + 3600,
            **more,
        }
        self.aws.resource("dynamodb").Table(self.results).put_item(Item=item)

    def result_ids(self) -> set[str]:
        return {item["ResultId"] for item in self.aws.resource("dynamodb").Table(self.results).scan()["Items"]}


def new_account(aws: EmbeddedAWS) -> Account:
    """Of an empty bucket with versions, and empty tables."""
    name = f"ogiri-{next(_serial)}"
    s3, dynamodb = aws.client("s3"), aws.client("dynamodb")
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.environment["AWS_DEFAULT_REGION"]}
    )
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    keys = {f"records-{name}": ["ImageKey", "ExpectedResult"], f"results-{name}": ["ResultId"]}
    for table, names in keys.items():
        dynamodb.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in names],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(names, ("HASH", "RANGE"), strict=False)
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    return Account(aws, name, *keys)


def picture(color: str = "orange", size: tuple[int, int] = (96, 72)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()
