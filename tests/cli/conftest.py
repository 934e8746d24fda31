from __future__ import annotations

import itertools

import pytest
from account import Account

from local.aws import EmbeddedAWS, embedded_aws

_serial = itertools.count()


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


@pytest.fixture(scope="session")
def cloud_of_commands():
    with embedded_aws(bucket=None, table=None) as aws:
        yield aws


@pytest.fixture
def account(cloud_of_commands) -> Account:
    return new_account(cloud_of_commands)
