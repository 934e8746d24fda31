import io
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from stand_ins import BusyDynamoDB, busy_handler, flood, picture, serving

from ogiri.record import image_key
from ogiri_aws.batch import BatchError
from ogiri_aws.ingest import IngestError
from ogiri_aws.items import group
from ogiri_aws.rows import Row
from ogiri_aws.variables import SettingsError
from tests.handlers import Context, load


@pytest.fixture
def ingest(destination, monkeypatch):
    monkeypatch.setenv("BUCKET", destination.bucket)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", destination.table)
    monkeypatch.setenv("PICTURE_NETWORKS", "127.0.0.2/32")
    handler = load("ingest").lambda_handler
    return lambda event, seconds=600.0: handler(event, Context(seconds=seconds))


def batch(*rows: Row) -> dict:
    items = [item.to_json() for item in group(rows).pictures]
    return {"Items": items, "BatchInput": {"execution": "run"}}


def failed(answer, objects) -> dict[int, str]:
    lines = objects()[answer["errors_key"]].splitlines()
    return {error["line"]: error["reason"] for error in map(json.loads, lines)}


def test_a_replayed_batch_changes_nothing_and_asks_nothing(ingest, outside, rekognition, records, objects):
    event = batch(Row(2, outside.add("/a.jpg", picture()), "猫"), Row(3, outside.url + "/a.jpg", "犬"))
    answer = ingest(event)
    counts = {"rows": 2, "pictures": 1, "written": 2, "skipped": 0, "analysed": 1, "failed": 0}
    assert answer == {
        "Items": [],
        "BatchInput": {"execution": "run", "attempt": 1},
        **{"unfinished": 0, "report": counts, "errors_key": None},
    }
    before = records(), objects()
    assert ingest(event)["report"] == {**counts, "written": 0, "skipped": 2, "analysed": 0}
    assert (records(), objects()) == before
    assert rekognition.calls == {"DetectLabels": 1, "DetectText": 1}
    assert outside.requests.total() == 1


def test_every_bad_picture_is_listed_with_its_rows_and_the_reason(ingest, outside, web, records, objects):
    outside.add("/round", status=302, Location="/round")
    outside.add("/credentials", status=302, Location="http://169.254.169.254/latest/meta-data/")
    outside.add("/inside", status=302, Location=web.add("/secret.jpg", picture()))
    outside.add("/html.png", b"<html>Sign in</html>", content_type="image/png")
    outside.add("/says.jpg", b"", **{"Content-Length": "1073741824"})
    outside.add("/flood.jpg", flood)
    outside.add("/good/a.jpg", picture())
    outside.add("/other/a.jpg", picture(color="blue"))
    paths = ["/missing.jpg", "/round", "/credentials", "/inside", "/html.png", "/says.jpg", "/flood.jpg"]
    rows = [Row(number, outside.url + path, "line") for number, path in enumerate([*paths, "/good/a.jpg"], 2)]
    rows += [Row(20, outside.url + "/other/a.jpg", "line"), Row(21, outside.url + "/missing.jpg", "another")]
    answer = ingest(batch(*rows, Row(22, web.url + "/secret.jpg", "line"), Row(23, "folder/a.jpg", "line")))
    assert answer["report"]["failed"] == 10
    reasons = failed(answer, objects)
    assert list(reasons) == [*range(2, 9), 21, 22, 23]
    assert "404" in reasons[2]
    assert reasons[21] == reasons[2]
    assert "Exceeded 5 redirects" in reasons[3]
    assert "169.254.169.254 is no public address" in reasons[4]
    assert "127.0.0.1 is no public address" in reasons[5]
    assert "127.0.0.1 is no public address" in reasons[22]
    assert "are no picture" in reasons[6]
    assert "larger than 26,214,400 bytes" in reasons[7]
    assert "larger than 26,214,400 bytes" in reasons[8]
    assert not web.requests
    keys = {image_key(outside.url + path) for path in ("/good/a.jpg", "/other/a.jpg")}
    assert {key for key, _ in records()} == keys
    assert {name for name in objects() if name.startswith("images/")} == {f"images/{key}" for key in keys}


def test_what_there_is_no_time_for_comes_back_and_nothing_is_lost(ingest, outside, records):
    event = batch(*(Row(n, outside.add(f"/{n}.jpg", picture()), f"line {n}") for n in range(1, 4)))
    answer = ingest(event, seconds=5)
    assert answer["unfinished"] == 3
    assert answer["Items"] == event["Items"]
    assert answer["BatchInput"] == {"execution": "run", "attempt": 2}
    assert not records()
    answer = ingest(answer)
    assert (answer["unfinished"], answer["report"]["written"], answer["report"]["rows"]) == (0, 3, 3)
    assert len(records()) == 3


def test_a_picture_under_way_when_time_is_over_comes_back(ingest, outside, records, monkeypatch):
    monkeypatch.setattr("ogiri_aws.ingest.START_SECONDS", 0.0)
    monkeypatch.setattr("ogiri_aws.ingest.STOP_SECONDS", 0.0)
    hold, given_up = [True], []

    def slow(handler):
        deadline = time.monotonic() + 30
        while hold and not given_up:
            time.sleep(0.02)
            if time.monotonic() > deadline:
                given_up.append(True)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(picture())

    outside.add("/slow.jpg", slow)
    answer = ingest(batch(Row(1, outside.url + "/slow.jpg", "line")), seconds=2)
    hold.clear()
    assert not given_up  # nobody waited for the picture
    assert (answer["unfinished"], answer["report"]["rows"]) == (1, 0)
    answer = ingest(answer)
    assert answer["unfinished"] == 0
    assert len(records()) == 1


def test_a_batch_that_never_gets_on_is_an_error_in_the_end(ingest, outside):
    answer = batch(Row(1, outside.add("/a.jpg", picture()), "line"))
    for _ in range(4):
        answer = ingest(answer, seconds=5)
    with pytest.raises(BatchError, match="none of 1 items was finished in time"):
        ingest(answer, seconds=5)


def test_a_busy_rekognition_puts_the_picture_off_and_at_last_reports_it(
    ingest, outside, rekognition, records, objects, monkeypatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("INGEST_ATTEMPTS", "2")
    event = batch(Row(7, outside.add("/a.jpg", picture()), "line"))
    rekognition.failures = ["ProvisionedThroughputExceededException"]
    answer = ingest(event)
    assert (answer["unfinished"], answer["BatchInput"]["attempt"], answer["errors_key"]) == (1, 2, None)
    assert ingest(answer)["report"]["written"] == 1

    table = Row(8, outside.add("/b.jpg", picture()), "line")
    rekognition.failures = ["ThrottlingException", "ThrottlingException"]
    answer = ingest(ingest(batch(table)))
    assert (answer["unfinished"], answer["report"]["failed"]) == (0, 1)
    assert "DetectLabels failed: ThrottlingException" in failed(answer, objects)[8]


def test_the_report_counts_all_tries_of_a_batch(ingest, outside, rekognition, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("INGEST_THREADS", "1")
    event = batch(*(Row(n, outside.add(f"/{n}.jpg", picture()), f"line {n}") for n in (1, 2)))
    rekognition.failures = ["ThrottlingException"]
    answer = ingest(event)
    assert (answer["unfinished"], answer["BatchInput"]["attempt"]) == (1, 1)
    assert answer["Items"] == event["Items"][:1]
    counts = {"rows": 2, "pictures": 2, "written": 2, "skipped": 0, "analysed": 2, "failed": 0}
    assert ingest(answer)["report"] == counts


@pytest.fixture
def busy_dynamodb(shared_aws, ingest, monkeypatch):
    front = BusyDynamoDB(shared_aws.endpoint_url)
    with serving(busy_handler(front)) as front.url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", front.url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield front


def test_a_busy_dynamodb_puts_the_picture_off_and_each_line_is_written_once(
    ingest, outside, busy_dynamodb, records, rekognition
):
    url = outside.add("/a.jpg", picture())
    busy_dynamodb.refusals = 1
    answer = ingest(batch(Row(1, url, "one"), Row(2, url, "two")))
    assert (answer["unfinished"], answer["report"]["rows"]) == (1, 0)
    answer = ingest(answer)
    assert (answer["unfinished"], answer["report"]["written"], answer["report"]["failed"]) == (0, 2, 0)
    assert {line for _, line in records()} == {"one", "two"}


def test_two_files_with_the_same_row_at_once_write_it_once(ingest, outside, records):
    event = batch(Row(1, outside.add("/a.jpg", picture()), "line"))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ingest, (event, event)))
    assert sum(answer["report"]["written"] for answer in answers) == 1
    assert sum(answer["report"]["skipped"] for answer in answers) == 1
    assert len(records()) == 1


def test_moderation_is_asked_when_set_and_leaves_the_picture_out(
    ingest, outside, rekognition, records, objects, monkeypatch
):
    rekognition.moderation = [{"Name": "Violence", "Confidence": 91.2}]
    event = batch(Row(4, outside.add("/a.jpg", picture()), "line"))
    monkeypatch.setenv("REKOGNITION_MODERATION_CONFIDENCE", "90")
    answer = ingest(event)
    assert "moderation finds Violence (91 %)" in failed(answer, objects)[4]
    assert not records()
    monkeypatch.setenv("REKOGNITION_MODERATION_CONFIDENCE", "95")
    assert ingest(event)["report"]["written"] == 1
    assert rekognition.calls["DetectModerationLabels"] == 2


def test_moderation_is_not_asked_by_itself(ingest, outside, rekognition):
    ingest(batch(Row(4, outside.add("/a.jpg", picture()), "line")))
    assert "DetectModerationLabels" not in rekognition.calls


def test_lines_that_lie_beside_their_item_are_read(ingest, outside, s3, destination, records):
    event = batch(Row(1, outside.add("/a.jpg", picture()), "one"), Row(2, outside.url + "/a.jpg", "two"))
    lines = event["Items"][0].pop("lines")
    event["Items"][0]["lines_at"] = "ingest/run/lines/a.json"
    s3.put_object(Bucket=destination.bucket, Key="ingest/run/lines/a.json", Body=json.dumps(lines).encode())
    assert ingest(event)["report"]["written"] == 2
    assert {line for _, line in records()} == {"one", "two"}


def test_left_out_rows_are_logged_with_their_numbers(ingest, outside, monkeypatch):
    (handler,) = logging.getLogger("ingest").handlers
    monkeypatch.setattr(handler, "stream", io.StringIO())
    ingest(batch(Row(12, outside.url + "/missing.jpg", "line")))
    logged = [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    (entry,) = (entry for entry in logged if entry["message"] == "row left out")
    assert (entry["line"], entry["level"]) == (12, "WARNING")
    assert "404" in entry["reason"]


@pytest.mark.parametrize("event", [{}, {"Items": []}, {"Items": {}, "BatchInput": {"execution": "x"}}])
def test_an_event_that_is_no_batch_is_told(ingest, event):
    with pytest.raises(BatchError, match="must be a batch of the map"):
        ingest(event)


def test_what_fails_for_every_picture_ends_the_batch(ingest, outside, monkeypatch):
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "no-such-table")
    with pytest.raises(IngestError, match="no-such-table"):
        ingest(batch(Row(1, outside.add("/a.jpg", picture()), "line")))


def test_a_network_that_is_none_is_named(ingest, monkeypatch):
    monkeypatch.setenv("PICTURE_NETWORKS", "10.0.0.0/8, intranet")
    with pytest.raises(SettingsError, match="PICTURE_NETWORKS is 'intranet'"):
        ingest(batch())
