"""What a program needs to find the stand-ins instead of AWS, and what it leaves in the table there."""

from __future__ import annotations

import os
from typing import Any

import boto3

from benchmarks.machine import ROOT
from ogiri.record import Record, from_item

REGION = "ap-northeast-1"

Records = dict[tuple[str, str], Record]


def environment(url: str, name: str) -> dict[str, str]:
    """The whole environment of a function whose bucket and table are called `name`, with AWS and pictures at `url`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "container", ROOT / "lambda" / "layer"))),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BUCKET": name,
        "DYNAMODB_TABLE_NAME": name,
        "PICTURE_NETWORKS": "127.0.0.1/32",
    }


def client(service: str, url: str) -> Any:
    """boto3's, for the AWS at `url`."""
    return _session().client(service, endpoint_url=url)


def records(url: str, name: str) -> Records:
    """All of a table, by picture and line."""
    table = _session().resource("dynamodb", endpoint_url=url).Table(name)
    page = table.scan()
    items = page["Items"]
    while "LastEvaluatedKey" in page:
        page = table.scan(ExclusiveStartKey=page["LastEvaluatedKey"])
        items += page["Items"]
    return {(record.image_key, record.line): record for record in map(from_item, items)}


def open_room(url: str, name: str) -> None:
    """Make a bucket and a table for records, both called `name`."""
    keys = {"ImageKey": "HASH", "ExpectedResult": "RANGE"}
    client("s3", url).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    client("dynamodb", url).create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )


def pictures(url: str, name: str) -> dict[str, str]:
    """The ETag of each picture in a bucket."""
    pages = client("s3", url).get_paginator("list_objects_v2").paginate(Bucket=name, Prefix="images/")
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", ())}


def _session() -> Any:
    return boto3.session.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name=REGION)  # noqa: S106
