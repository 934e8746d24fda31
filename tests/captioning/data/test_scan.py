import gzip
import json
import logging
import urllib.request
from decimal import Decimal

import numpy as np
import pytest

from local.aws import embedded_aws
from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.data.records import DataError
from ogiri.captioning.data.scan import read_channel, scan
from ogiri.record import Label


@pytest.fixture(scope="module")
def shared_aws():
    with embedded_aws(bucket=None, table=None) as aws:
        yield aws


@pytest.fixture(scope="module")
def dynamodb(shared_aws):
    resource = shared_aws.resource("dynamodb")
    yield resource
    resource.meta.client.close()


@pytest.fixture
def aws(shared_aws):
    with shared_aws.applied():
        yield shared_aws


_serial = iter(range(1_000_000))


@pytest.fixture
def table(aws, dynamodb):
    keys = {"ImageKey": "HASH", "ExpectedResult": "RANGE"}
    return dynamodb.create_table(
        TableName=f"records-{next(_serial)}",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        BillingMode="PAY_PER_REQUEST",
    )


def put(table, *items: dict) -> None:
    with table.batch_writer() as batch:
        for item in items:
            batch.put_item(item)


def item(key: str, line: str, **attributes) -> dict:
    return {"ImageKey": key, "ExpectedResult": line, **attributes}


def test_reads_every_form_of_labels_numbers_and_unknown_attributes(table):
    put(
        table,
        item("a.jpg", "会議", Labels=[{"Name": "Cat", "Confidence": Decimal("98.5")}], Score=Decimal("2.5")),
        item("b.jpg", "x", Labels=["Pet", "Cat"], DetectedText="立入禁止", ImageUrl="https://b.example/b.jpg"),
        item("c.jpg", "x", Labels={"Pet", "Cat"}, Score=3, Category={"any": {b"thing"}}, Size=Decimal("1E+100")),
        item("d.jpg", "x", Labels=None, DetectedText=None, Score=None),
    )
    records = scan(table.name, min_records=4)
    assert records.pictures == (
        Picture("a.jpg", (Label("Cat", 98.5),)),
        Picture("b.jpg", (Label("Pet"), Label("Cat")), "立入禁止"),
        Picture("c.jpg", (Label("Cat"), Label("Pet"))),
        Picture("d.jpg"),
    )
    assert records.lines == ["会議", "x", "x", "x"]
    np.testing.assert_array_equal(records.scores, np.array([2.5, np.nan, 3, np.nan], np.float32))


@pytest.mark.parametrize("segments", [1, 4])
def test_reads_a_table_of_several_pages_whole(table, segments):
    lines = [f"{n:04} " + "あ" * 330 for n in range(1300)]  # 1,000 bytes each: more than 1 MB, a page
    put(table, *(item(f"{n % 500:03}.jpg", line) for n, line in enumerate(lines)))
    first_page = table.meta.client.scan(TableName=table.name)
    assert "LastEvaluatedKey" in first_page
    records = scan(table.name, min_records=1300, segments=segments)
    assert sorted(records.lines) == lines
    assert len(records.pictures) == 500
    assert all(int(line[:4]) % 500 == index for index, line in zip(records.picture_of, records.lines, strict=True))


def test_a_missing_table_is_named_with_its_region_and_the_way_out(aws):
    message = r"NoSuchTable in ap-northeast-1 \(http://127.0.0.1:\d+\) does not exist: set DYNAMODB_TABLE_NAME"
    with pytest.raises(DataError, match=message):
        scan("NoSuchTable", min_records=1)


def test_an_empty_table_says_how_to_fill_it(table):
    with pytest.raises(DataError, match=rf"{table.name} .*is empty: upload a CSV below uploads/"):
        scan(table.name, min_records=1)


def test_too_few_records_name_the_hyperparameter(table):
    put(table, item("a.jpg", "x"), item("a.jpg", "y"))
    with pytest.raises(DataError, match=r"has 2 records, fewer than the 3 of the hyperparameter min_records"):
        scan(table.name, min_records=3)
    assert len(scan(table.name, min_records=2)) == 2


def test_a_few_invalid_records_are_left_out_and_logged(table, caplog):
    caplog.set_level(logging.INFO)
    put(table, *(item(f"{n}.jpg", "x") for n in range(57)), *(item(f"../{n}.jpg", "x") for n in range(3)))
    assert len(scan(table.name, min_records=1)) == 57
    assert caplog.text.count("left out a record") == 3
    assert "../1.jpg" in caplog.text
    assert "57 records of 57 pictures" in caplog.text
    assert "3 left out" in caplog.text


def test_too_many_invalid_records_fail(table):
    put(table, *(item(f"{n}.jpg", "x") for n in range(90)), *(item(f"../{n}.jpg", "x") for n in range(10)))
    with pytest.raises(DataError, match=r"10 of 100 records .* are invalid \(at most 5% may be\).*ImageKey is '\.\./"):
        scan(table.name, min_records=1)


def test_no_network_is_told(aws, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"cannot be reached .*gateway endpoint"):
        scan("Any", min_records=1)


def test_no_credentials_are_told(aws, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DataError, match="no AWS credentials"):
        scan("Any", min_records=1)


def test_no_region_is_told_and_aws_region_is_enough(table, monkeypatch):
    put(table, item("a.jpg", "x"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert len(scan(table.name, min_records=1)) == 1
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(DataError, match="set AWS_DEFAULT_REGION"):
        scan(table.name, min_records=1)


def test_a_refused_permission_names_the_action(shared_aws, table, monkeypatch):
    def enforce_after(calls: str) -> None:
        request = urllib.request.Request(f"{shared_aws.endpoint_url}/moto-api/reset-auth", calls.encode())
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request).close()

    iam = shared_aws.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    enforce_after("0")
    try:
        with pytest.raises(DataError, match=r"may not be read: allow the job's role dynamodb:Scan"):
            scan(table.name, min_records=1)
    finally:
        enforce_after("inf")
        iam.close()


def write(path, *lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())


def test_the_channel_takes_json_lines_and_a_dynamodb_export(tmp_path):
    write(
        tmp_path / "own.jsonl",
        "\ufeff"
        + json.dumps(item("a.jpg", "会議", Labels=[{"Name": "Cat", "Confidence": 98.5}], Score=2.5, Extra=[1])),
        "",
        item("b.jpg", "x", Labels=["Pet", "Cat"], DetectedText=None),
    )
    typed = {
        "ImageKey": {"S": "c.jpg"},
        "ExpectedResult": {"S": "x"},
        "Labels": {"L": [{"M": {"Name": {"S": "Cat"}, "Confidence": {"N": "98.5"}}}]},
        "DetectedText": {"S": "立入禁止"},
        "Score": {"N": "7"},
        "Unread": {"Q": "of a kind to come"},
    }
    export = tmp_path / "AWSDynamoDB" / "01-abc"
    write(export / "data" / "part.json.gz", {"Item": typed}, {"Item": {**typed, "Labels": {"SS": ["Pet", "Cat"]}}})
    write(export / "manifest-summary.json", {"version": "2020-06-30", "itemCount": 1})
    write(export / "manifest-files.json", {"itemCount": 1, "dataFileS3Key": "part.json.gz"})
    write(export / "_started", "")
    records = read_channel(tmp_path, min_records=3)
    assert records.pictures == (
        Picture("a.jpg", (Label("Cat", 98.5),)),
        Picture("b.jpg", (Label("Pet"), Label("Cat"))),
        Picture("c.jpg", (Label("Cat", 98.5),), "立入禁止"),
    )
    assert records.lines == ["会議", "x", "x"]
    np.testing.assert_array_equal(records.scores, np.array([2.5, np.nan, 7], np.float32))


def test_invalid_lines_of_the_channel_are_named_by_file_and_line(tmp_path, caplog):
    good = [item(f"{n}.jpg", "x") for n in range(200)]
    bad = ["{", "[]", "5", '{"ImageKey": "\\ud800", "ExpectedResult": "x"}', {"Item": {"ImageKey": "untyped"}}]
    bad += [{"Item": {"ImageKey": {"S": "a", "N": "1"}}}, {"Item": {"ImageKey": {"Q": "?"}}}]
    write(tmp_path / "some.jsonl", *good, *bad)
    assert len(read_channel(tmp_path, min_records=1)) == 200
    assert "some.jsonl line 201: this is no line of JSON" in caplog.text
    write(tmp_path / "some.jsonl", *bad)
    with pytest.raises(DataError, match="7 of 7 records"):
        read_channel(tmp_path, min_records=1)


@pytest.mark.parametrize("name", [None, "notes.txt", "data/part.ion.gz"])
def test_a_channel_without_json_lines_is_refused(tmp_path, name):
    if name:
        write(tmp_path / name, "x")
    with pytest.raises(DataError, match=r"no file that ends in \.jsonl"):
        read_channel(tmp_path, min_records=1)


def test_an_empty_channel_and_one_with_too_few_are_refused(tmp_path):
    write(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="is empty"):
        read_channel(tmp_path, min_records=1)
    write(tmp_path / "a.jsonl", item("a.jpg", "x"))
    with pytest.raises(DataError, match="min_records"):
        read_channel(tmp_path, min_records=2)


@pytest.mark.parametrize(
    "damage", [b"no gzip", gzip.compress(b'{"ImageKey": "a.jpg"}\n' * 99)[:-9]], ids=["none", "cut"]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "part.json.gz").write_bytes(damage)
    with pytest.raises(DataError, match=r"part\.json\.gz cannot be read"):
        read_channel(tmp_path, min_records=1)
