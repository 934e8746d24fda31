"""What was taken down stays out, whoever uploads it again and whatever is under way."""

import json

import pytest
from stand_ins import picture

from ogiri.record import image_key
from ogiri_aws import forgotten
from ogiri_aws.items import group
from ogiri_aws.rows import Row
from ogiri_aws.uploads import UploadError
from tests.handlers import Context, load

ROWS = "https://a.example/1.jpg,猫,3\nhttps://b.example/2.jpg,犬,\nhttps://a.example/1.jpg,休憩,\n"
FIRST, SECOND = (image_key(url) for url in ("https://a.example/1.jpg", "https://b.example/2.jpg"))


@pytest.fixture
def prepare(s3, destination, monkeypatch):
    monkeypatch.setenv("BUCKET", destination.bucket)
    s3.put_object(Bucket=destination.bucket, Key="uploads/rows.csv", Body=ROWS.encode())
    event = {"execution": "run", "upload": {"bucket": destination.bucket, "key": "uploads/rows.csv"}}
    return lambda: load("prepare").lambda_handler(event, Context())


@pytest.fixture
def lines(objects):
    return lambda: [
        (item["image_key"], line[1])
        for item in json.loads(objects()["ingest/run/items.json"])
        for line in item["lines"]
    ]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        (forgotten.picture_name(FIRST), [(SECOND, "犬")]),
        (forgotten.line_name("猫", FIRST), [(FIRST, "休憩"), (SECOND, "犬")]),
        (forgotten.line_name("犬"), [(FIRST, "猫"), (FIRST, "休憩")]),
        (forgotten.line_name("猫", SECOND), [(FIRST, "猫"), (FIRST, "休憩"), (SECOND, "犬")]),
    ],
    ids=["a picture", "a line with a picture", "a line with any picture", "the line of another picture"],
)
def test_prepare_leaves_out_what_is_on_the_list(prepare, lines, s3, destination, name, left):
    forgotten.remember(s3, destination.bucket, [name, name])
    answer = prepare()
    assert sorted(lines()) == sorted(left)
    assert answer["lines"] == len(left)
    assert answer["rejected"] == 3 - len(left)


def test_a_row_that_is_left_out_is_reported_by_its_number_and_not_by_its_text(prepare, s3, destination, objects):
    name = forgotten.picture_name(FIRST)
    forgotten.remember(s3, destination.bucket, [name])
    key = prepare()["errors_key"]
    report = objects()[key].decode()
    assert [json.loads(row)["line"] for row in report.splitlines()] == [1, 3]
    assert f"forgotten/{name}" in report
    assert "猫" not in report
    assert "a.example" not in report


def test_deleting_the_entry_lets_it_in_again(prepare, s3, destination):
    name = forgotten.picture_name(FIRST)
    forgotten.remember(s3, destination.bucket, [name])
    assert prepare()["pictures"] == 1
    s3.delete_object(Bucket=destination.bucket, Key=forgotten.FOLDER + name)
    assert prepare()["pictures"] == 2


def test_a_csv_of_nothing_else_fails_and_says_why(prepare, s3, destination):
    forgotten.remember(s3, destination.bucket, [forgotten.picture_name(key) for key in (FIRST, SECOND)])
    with pytest.raises(UploadError, match=r"none of its 3 rows can be used.*taken down"):
        prepare()


@pytest.fixture
def ingest(destination, monkeypatch):
    monkeypatch.setenv("BUCKET", destination.bucket)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", destination.table)
    monkeypatch.setenv("PICTURE_NETWORKS", "127.0.0.2/32")
    return lambda event, seconds=600.0: load("ingest").lambda_handler(event, Context(seconds=seconds))


def test_a_batch_that_was_prepared_before_does_not_bring_it_back(
    ingest, outside, s3, destination, records, objects, rekognition
):
    gone, kept = (outside.add(f"/{name}.jpg", picture(color=name)) for name in ("red", "green"))
    rows = [Row(2, gone, "猫"), Row(3, kept, "犬"), Row(4, kept, "休憩")]
    items = [item.to_json() for item in group(rows).pictures]
    names = [forgotten.picture_name(image_key(gone)), forgotten.line_name("休憩", image_key(kept))]
    forgotten.remember(s3, destination.bucket, names)
    answer = ingest({"Items": items, "BatchInput": {"execution": "run"}})
    assert set(records()) == {(image_key(kept), "犬")}
    assert f"images/{image_key(gone)}" not in objects()
    assert rekognition.calls["DetectLabels"] == 1
    assert (answer["unfinished"], answer["report"]["rows"], answer["report"]["failed"]) == (0, 3, 2)
    assert [json.loads(row)["line"] for row in objects()[answer["errors_key"]].splitlines()] == [2, 4]


def test_a_picture_that_comes_again_counts_its_left_out_line_once(ingest, outside, s3, destination, records):
    url = outside.add("/a.jpg", picture())
    items = [item.to_json() for item in group([Row(2, url, "猫"), Row(3, url, "犬")]).pictures]
    forgotten.remember(s3, destination.bucket, [forgotten.line_name("犬")])
    answer = ingest({"Items": items, "BatchInput": {"execution": "run"}}, seconds=20)
    assert (answer["unfinished"], answer["report"]["failed"], answer["BatchInput"]["attempt"]) == (1, 0, 2)
    answer = ingest(json.loads(json.dumps(answer)))
    assert (answer["unfinished"], answer["report"]["failed"], answer["report"]["written"]) == (0, 1, 1)
    assert set(records()) == {(image_key(url), "猫")}
