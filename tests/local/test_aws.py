from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from local.aws import EmbeddedAWS, embedded_aws
from local.process import ProcessError, running
from ogiri.record import Label, Record, from_item, to_item


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws() as started:
        yield started


def test_keeps_pictures_and_records(aws: EmbeddedAWS):
    s3 = aws.client("s3")
    s3.put_object(Bucket=aws.bucket, Key="images/a.png", Body=b"picture")
    record = Record("a.png", "ねこです", (Label("Cat", 98.5),), "止まれ", "https://example.com/a.png", 3.0)
    table = aws.resource("dynamodb").Table(aws.table)
    table.put_item(Item=to_item(record))

    assert s3.get_object(Bucket=aws.bucket, Key="images/a.png")["Body"].read() == b"picture"
    assert [from_item(item) for item in table.scan()["Items"]] == [record]


def test_the_table_has_the_keys_of_a_record_and_is_paid_by_request(aws: EmbeddedAWS):
    table = aws.client("dynamodb").describe_table(TableName=aws.table)["Table"]
    assert table["KeySchema"] == [
        {"AttributeName": "ImageKey", "KeyType": "HASH"},
        {"AttributeName": "ExpectedResult", "KeyType": "RANGE"},
    ]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_child_process_needs_only_the_environment(aws: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    code = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    child = subprocess.run(
        [sys.executable, "-c", code], env=aws.process_environment(), capture_output=True, text=True, timeout=60
    )
    assert child.stdout.strip() == aws.bucket, child.stderr


def test_applied_ends_with_its_block(aws: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "somebody-elses")
    before = dict(os.environ)
    with aws.applied():
        assert "AWS_PROFILE" not in os.environ
        assert boto3.session.Session().client("dynamodb").list_tables()["TableNames"] == [aws.table]
    assert dict(os.environ) == before


def test_rekognition_has_its_own_address(aws: EmbeddedAWS):
    eyes = aws.with_rekognition("http://127.0.0.1:9")
    assert eyes.client("rekognition").meta.endpoint_url == "http://127.0.0.1:9"
    assert eyes.client("s3").meta.endpoint_url == aws.endpoint_url
    assert "AWS_ENDPOINT_URL_REKOGNITION" not in aws.environment


def test_ends_the_server_when_the_block_fails():
    with pytest.raises(KeyboardInterrupt), embedded_aws(bucket=None, table=None) as started:
        raise KeyboardInterrupt
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(started.endpoint_url, timeout=5)


def test_a_server_that_ends_at_its_start_shows_its_log(tmp_path: Path):
    command = [sys.executable, "-c", "import sys; print('no such port'); sys.exit(3)"]
    with pytest.raises(ProcessError, match=r"(?s)exit code 3.*no such port"):  # noqa: SIM117
        with running(command, log=tmp_path / "log", ready=lambda: None):
            pytest.fail("the process never answered")


def test_a_server_that_never_answers_is_ended(tmp_path: Path):
    command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    with pytest.raises(ProcessError, match=r"within 1 s"):  # noqa: SIM117
        with running(command, log=tmp_path / "log", ready=lambda: None, start_seconds=1):
            pytest.fail("the process never answered")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "log").read_text()), 0)
