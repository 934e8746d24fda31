from __future__ import annotations

import pytest
from sagemaker_stand_in import SageMaker, sagemaker_handler
from stand_ins import Rekognition, Web, rekognition_handler, serving, web_handler

from local.aws import embedded_aws
from ogiri.record import from_item
from ogiri_aws.ingest import Destination


@pytest.fixture
def web():
    pages = Web()
    with serving(web_handler(pages)) as pages.url:
        yield pages


@pytest.fixture
def outside():
    """A web at an address that the tests of guarded connections count as public."""
    pages = Web()
    with serving(web_handler(pages), "127.0.0.2") as pages.url:
        yield pages


@pytest.fixture
def rekognition():
    service = Rekognition()
    with serving(rekognition_handler(service)) as service.url:
        yield service


@pytest.fixture
def sagemaker(aws, monkeypatch):
    service = SageMaker()
    with serving(sagemaker_handler(service)) as service.url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", service.url)
        yield service


@pytest.fixture(scope="session")
def shared_aws():
    with embedded_aws(bucket=None, table=None) as aws:
        yield aws


@pytest.fixture
def aws(shared_aws, rekognition):
    """This process's boto3 talks to the embedded AWS and to the test's own Rekognition."""
    aws = shared_aws.with_rekognition(rekognition.url)
    with aws.applied():
        yield aws


@pytest.fixture(scope="session")
def s3(shared_aws):
    client = shared_aws.client("s3")
    yield client
    client.close()


@pytest.fixture(scope="session")
def dynamodb(shared_aws):
    resource = shared_aws.resource("dynamodb")
    yield resource
    resource.meta.client.close()


_serial = iter(range(1_000_000))


@pytest.fixture
def destination(aws, s3, dynamodb) -> Destination:
    """An empty bucket and an empty table."""
    name = f"ingest-{next(_serial)}"
    location = {"LocationConstraint": aws.environment["AWS_DEFAULT_REGION"]}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=location)
    keys = {"ImageKey": "HASH", "ExpectedResult": "RANGE"}
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    return Destination(name, name)


@pytest.fixture
def table(dynamodb, destination):
    return dynamodb.Table(destination.table)


@pytest.fixture
def records(table):
    """Reads all records: (image key, line) → record."""
    return lambda: {(record.image_key, record.line): record for record in map(from_item, table.scan()["Items"])}


@pytest.fixture
def objects(s3, destination):
    """Reads all objects of the bucket: key → bytes."""

    def read() -> dict[str, bytes]:
        names = [entry["Key"] for entry in s3.list_objects_v2(Bucket=destination.bucket).get("Contents", [])]
        return {name: s3.get_object(Bucket=destination.bucket, Key=name)["Body"].read() for name in names}

    return read
