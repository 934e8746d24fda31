import json
import subprocess
import sys
from urllib.parse import quote_plus

import pytest

from ogiri_aws.claims import claim
from ogiri_aws.prepare import MAX_ITEM_BYTES, item_from
from ogiri_aws.uploads import Upload, UploadError, upload_from
from ogiri_aws.variables import SettingsError
from tests.handlers import Context, load, object_created

HEADER = "image_url,expected_result,score\n"


@pytest.fixture
def put(s3, destination):
    def put(text: str | bytes, key: str = "uploads/rows.csv") -> str:
        s3.put_object(Bucket=destination.bucket, Key=key, Body=text.encode() if isinstance(text, str) else text)
        return key

    return put


@pytest.fixture
def prepare(destination, monkeypatch):
    monkeypatch.setenv("BUCKET", destination.bucket)
    return lambda event: load("prepare").lambda_handler(event, Context())


@pytest.fixture
def by_hand(prepare, destination):
    return lambda key: prepare({"execution": "run", "upload": {"bucket": destination.bucket, "key": key}})


@pytest.fixture
def stored(objects):
    return lambda answer: json.loads(objects()[answer["key"]])


def test_one_item_a_picture_with_all_its_lines_and_row_numbers(by_hand, put, stored, destination):
    rows = "https://a.example/1.jpg,猫,3\nhttps://b.example/2.jpg,犬,\nhttps://a.example/1.jpg,休憩,\n"
    answer = by_hand(put(HEADER + rows + "https://a.example/1.jpg,猫,9\n"))
    assert answer == {
        "execution": "run",
        "upload": {"bucket": destination.bucket, "key": "uploads/rows.csv", "version": "", "version_id": ""},
        "bucket": destination.bucket,
        "key": "ingest/run/items.json",
        **{"rows": 4, "pictures": 2, "lines": 3, "duplicates": 1, "rejected": 0, "errors_key": None},
    }
    first, second = stored(answer)
    assert first["image_url"] == "https://a.example/1.jpg"
    assert first["lines"] == [[2, "猫", 3.0], [4, "休憩", None]]
    assert second["lines"] == [[3, "犬", None]]


def test_labels_are_those_of_the_first_row_that_has_some(by_hand, put, stored):
    rows = "a.jpg,one,\na.jpg,two,Dog/Pet\na.jpg,three,Cat\n"
    (item,) = stored(by_hand(put("image_url,text,labels\n" + rows)))
    assert item["labels"] == ["Dog", "Pet"]


@pytest.mark.parametrize(
    "key", ["uploads/ボケ 2026.csv", "uploads/a b+c.csv", "uploads/100%25 & more.csv", "uploads/%E3%83%9C.csv"]
)
def test_a_key_is_read_as_each_kind_of_event_writes_it(prepare, put, destination, key):
    put("a.jpg,line\n", key)
    event = object_created(destination.bucket, key)
    assert prepare(event)["upload"] == {"bucket": destination.bucket, "key": key, "version": "1", "version_id": ""}
    encoded = {"key": quote_plus(key, safe="/"), "sequencer": "2"}
    notification = {"Records": [{"s3": {"bucket": {"name": destination.bucket}, "object": encoded}}]}
    assert prepare(notification)["upload"]["key"] == key
    assert prepare({"bucket": destination.bucket, "key": key})["upload"]["key"] == key


def test_a_bucket_with_versions_gives_the_version_that_was_uploaded(prepare, put, s3, destination, stored):
    s3.put_bucket_versioning(Bucket=destination.bucket, VersioningConfiguration={"Status": "Enabled"})
    put("a.jpg,old\n")
    old = s3.head_object(Bucket=destination.bucket, Key="uploads/rows.csv")["VersionId"]
    put("a.jpg,new\n")
    event = object_created(destination.bucket, "uploads/rows.csv", **{"version-id": old})
    answer = prepare(event)
    assert answer["upload"]["version"] == old
    assert stored(answer)[0]["lines"][0][1] == "old"


def test_a_key_that_was_percent_encoded_by_mistake_is_told(by_hand, put):
    put("a.jpg,line\n", "uploads/a b.csv")
    with pytest.raises(UploadError, match=r"NoSuchKey; keys are taken as they are: is 'uploads/a b\.csv' meant"):
        by_hand("uploads/a%20b.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEADER, "has no rows"),
        ("\n\n", "has no rows"),
        ("https://a.example/1.jpg\nhttps://a.example/2.jpg\n", "none of its 2 rows .* line 1: it has 1 of 2 columns"),
        ("image_url\nhttps://a.example/1.jpg\n", "names image_url, but no expected_result"),
        (f"a.jpg,{'笑' * 342}\n", "ExpectedResult has 1026 bytes"),
        (b"PK\x03\x04\0\0", "Excel workbook"),
    ],
    ids=["empty", "header", "blank", "column", "column-header", "long", "excel"],
)
def test_a_csv_without_a_usable_row_is_an_error_that_says_why(by_hand, put, text, message):
    with pytest.raises(ValueError, match=rf"uploads/rows\.csv.*{message}"):
        by_hand(put(text))


def test_bad_rows_are_listed_in_s3_and_the_rest_goes_on(by_hand, put, stored, objects):
    answer = by_hand(put(HEADER + 'a.jpg,"said ""hi"",\nand left",1\nb.jpg\nc.jpg,ok,many\nd.jpg,fine,\n'))
    assert [item["lines"] for item in stored(answer)] == [[[2, 'said "hi",\nand left', 1.0]], [[6, "fine", None]]]
    assert answer["rejected"] == 2
    errors = [json.loads(line) for line in objects()[answer["errors_key"]].splitlines()]
    assert [error["line"] for error in errors] == [4, 5]
    assert "score is 'many'" in errors[1]["reason"]


def test_an_event_that_is_delivered_twice_is_one_executions(prepare, put, destination, objects):
    event = object_created(destination.bucket, put("a.jpg,line\n"))
    assert prepare({"execution": "first", "upload": event})["lines"] == 1
    again = prepare({"execution": "second", "upload": event})
    upload = {"bucket": destination.bucket, "key": "uploads/rows.csv", "version": "1", "version_id": ""}
    assert again == {"execution": "second", "upload": upload, "taken_by": "first"}
    assert not [key for key in objects() if key.startswith("ingest/second")]


def test_an_execution_that_is_driven_again_has_its_upload_still(prepare, put, destination):
    event = object_created(destination.bucket, put("a.jpg,line\n"))
    first = prepare({"execution": "first", "upload": event})
    assert prepare({"execution": "first", "upload": event}) == first


def test_an_upload_whose_execution_has_failed_is_free_again(s3, destination):
    upload = Upload(destination.bucket, "uploads/rows.csv", "1")
    over: set[str] = set()

    def claimed(execution: str) -> str:
        return claim(s3, destination.bucket, upload, execution, over.__contains__)

    assert [claimed("first"), claimed("second"), claimed("first")] == ["first"] * 3
    over.add("first")
    assert [claimed("second"), claimed("third"), claimed("first")] == ["second"] * 3


def test_a_new_version_and_a_start_by_hand_are_meant(prepare, put, destination):
    key = put("a.jpg,line\n")
    starts = [object_created(destination.bucket, key, version) for version in "12"]
    starts += [{"bucket": destination.bucket, "key": key}] * 2
    for number, start in enumerate(starts):
        assert prepare({"execution": f"execution-{number}", "upload": start})["lines"] == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_encodings_of_excel_are_read(by_hand, put, stored, encoding):
    answer = by_hand(put((HEADER + "a.jpg,表示ソ,\n").encode(encoding)))
    assert stored(answer)[0]["lines"] == [[2, "表示ソ", None]]


def test_a_picture_with_very_many_lines_keeps_them_beside_the_item(by_hand, put, stored, s3, destination):
    lines = [f"{number} {'あ' * 100}" for number in range(500)]
    answer = by_hand(put("".join(f"a.jpg,{line}\n" for line in lines)))
    (value,) = stored(answer)
    assert len(json.dumps(value)) < MAX_ITEM_BYTES < sum(len(line.encode()) for line in lines)
    item = item_from(s3, destination.bucket, value)
    assert [line.line for line in item.lines] == lines
    assert [line.line_number for line in item.lines] == list(range(1, 501))


# Reads a file of that many rows in a process of its own, whose peak of memory is its own too.
_PEAK = """
import resource, sys
from pathlib import Path
from ogiri_aws.grouping import Grouping
from ogiri_aws.rows import Row
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
grouping = Grouping(folder / "rows.sqlite")
for number in range(rows):
    url = f"https://example.com/pictures/{number % (rows // 2)}.jpg"
    grouping.add(Row(number, url, f"{number} " + "あ" * 60))
print(sum(len(item.lines) for item in grouping.items()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    def peak(rows: int) -> int:
        folder = tmp_path / str(rows)
        folder.mkdir()
        answer = subprocess.run([sys.executable, "-c", _PEAK, folder, str(rows)], stdout=subprocess.PIPE, check=True)
        count, megabytes = map(int, answer.stdout.split())
        assert count == rows
        return megabytes

    assert peak(100_000) - peak(1_000) < 100  # 65 of them are SQLite's page cache


def test_a_hundred_thousand_rows_of_one_file(by_hand, put, stored):
    rows = "".join(f"https://a.example/{n % 40_000}.jpg,line {n},\n" for n in range(100_000))
    answer = by_hand(put(HEADER + rows))
    assert (answer["rows"], answer["pictures"], answer["lines"]) == (100_000, 40_000, 100_000)
    items = stored(answer)
    assert len(items) == 40_000
    assert items[7]["lines"] == [[9, "line 7", None], [40_009, "line 40007", None], [80_009, "line 80007", None]]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "bucket is None"),
        ({"bucket": "b", "key": ""}, "key is ''"),
        ({"detail-type": "Object Deleted", "detail": {}}, "'Object Deleted'"),
        ({"detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}, "no object"),
        ({"Records": []}, "must have one record"),
    ],
)
def test_an_event_of_something_else_is_told_with_the_way_out(event, message):
    with pytest.raises(UploadError, match=rf"{message}.*starts it by hand"):
        upload_from(event)


def test_without_versions_the_sequencer_tells_uploads_apart():
    event = object_created("b", "k.csv", "0062", **{"version-id": "null"})
    assert upload_from(event) == Upload("b", "k.csv", "0062")


@pytest.mark.parametrize("execution", ["../elsewhere", "a/b", ".."])
def test_an_execution_never_leaves_its_folder(prepare, put, destination, execution):
    put("a.jpg,line\n")
    upload = {"bucket": destination.bucket, "key": "uploads/rows.csv"}
    with pytest.raises(UploadError, match="execution is"):
        prepare({"execution": execution, "upload": upload})


def test_a_missing_variable_is_named(prepare, monkeypatch):
    monkeypatch.delenv("BUCKET")
    with pytest.raises(SettingsError, match="BUCKET is not set"):
        prepare({"bucket": "b", "key": "k"})
