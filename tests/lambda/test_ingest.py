import json
from decimal import Decimal

import pytest
from stand_ins import picture

from ogiri.record import Label, Record, image_key, to_item
from ogiri_aws.clients import connect
from ogiri_aws.ingest import Destination, IngestError, Report, ingest
from ogiri_aws.items import group
from ogiri_aws.pictures import Limits
from ogiri_aws.rekognition import Detection
from ogiri_aws.rows import Row, RowError


def items(*rows: Row):
    grouped = group(rows)
    assert not grouped.errors
    return grouped.pictures


def test_pictures_and_records_are_written_once_whatever_is_repeated(
    destination, web, rekognition, s3, records, objects
):
    rekognition.texts = [{"DetectedText": "立入禁止", "Type": "LINE"}, {"DetectedText": "立入禁止", "Type": "WORD"}]
    cat, dog = picture(), picture(format="WEBP")
    cat_url, dog_url = web.add("/a/image.jpg", cat), web.add("/b/image.jpg", dog, content_type="text/plain")
    rows = [Row(2, cat_url, "会議", 12.5), Row(3, dog_url, "会議"), Row(4, cat_url, "休憩\n中", 0.0)]
    progress = []
    first = ingest(items(*rows), destination, progress=lambda done, total: progress.append((done, total)))
    assert first == Report(rows=3, pictures=2, written=3, analysed=2)
    assert progress == [(1, 2), (2, 2)]
    assert rekognition.calls == {"DetectLabels": 2, "DetectText": 2}

    cat_key, dog_key = image_key(cat_url), image_key(dog_url)
    assert objects() == {f"images/{cat_key}": cat, f"images/{dog_key}": dog}
    head = s3.head_object(Bucket=destination.bucket, Key=f"images/{dog_key}")
    assert head["ContentType"] == "image/webp"
    labels = (Label("Cat", 98.7654),)
    written = records()
    assert written == {
        (cat_key, "会議"): Record(cat_key, "会議", labels, "立入禁止", cat_url, 12.5),
        (cat_key, "休憩\n中"): Record(cat_key, "休憩\n中", labels, "立入禁止", cat_url, 0.0),
        (dog_key, "会議"): Record(dog_key, "会議", labels, "立入禁止", dog_url),
    }

    again = ingest(items(*rows), destination)
    assert again == Report(rows=3, pictures=2, skipped=3)
    assert sum(rekognition.calls.values()) == 4
    assert sum(web.requests.values()) == 2
    assert records() == written


def test_a_new_line_for_a_known_picture_reuses_its_analysis(destination, web, rekognition, records):
    url = web.add("/image.jpg", picture())
    ingest(items(Row(1, url, "one")), destination)
    rekognition.labels = [{"Name": "Other", "Confidence": 50}]
    report = ingest(items(Row(1, url, "one"), Row(2, url, "two")), destination)
    assert report == Report(rows=2, pictures=1, written=1, skipped=1)
    assert records()[image_key(url), "two"].labels == (Label("Cat", 98.7654),)
    assert rekognition.calls["DetectLabels"] == 1


def test_an_analysis_that_found_nothing_is_an_analysis(destination, web, rekognition):
    rekognition.labels = []
    url = web.add("/image.jpg", picture())
    ingest(items(Row(1, url, "one")), destination)
    assert ingest(items(Row(2, url, "two")), destination).analysed == 0


def test_an_ingest_that_was_cut_off_goes_on_from_the_bucket(destination, web, rekognition, s3, table):
    url = web.url + "/gone.jpg"
    s3.put_object(Bucket=destination.bucket, Key=f"images/{image_key(url)}", Body=picture())
    table.put_item(Item={"ImageKey": image_key(url), "ExpectedResult": "without labels"})
    report = ingest(items(Row(1, url, "one")), destination)
    assert report == Report(rows=1, pictures=1, written=1, analysed=1)
    assert not web.requests


def test_a_picture_that_was_deleted_from_the_bucket_comes_back(destination, web, s3, objects):
    url = web.add("/image.jpg", picture())
    ingest(items(Row(1, url, "one")), destination)
    s3.delete_object(Bucket=destination.bucket, Key=f"images/{image_key(url)}")
    assert ingest(items(Row(1, url, "one")), destination) == Report(rows=1, pictures=1, skipped=1)
    assert objects() == {f"images/{image_key(url)}": picture()}


def test_labels_of_the_csv_are_kept_and_cost_no_analysis(destination, web, rekognition, records):
    url = web.add("/image.jpg", picture())
    report = ingest(items(Row(1, url, "one", 3.0, ("Dog", "Pet"))), destination)
    assert report == Report(rows=1, pictures=1, written=1)
    assert records()[image_key(url), "one"].labels == (Label("Dog"), Label("Pet"))
    assert not rekognition.calls


def test_bad_pictures_are_reported_with_all_their_rows_and_stop_nothing(
    destination, web, rekognition, records, objects
):
    good = web.add("/good.jpg", picture())
    html = web.add("/html.jpg", b"<html>Sign in</html>", content_type="image/jpeg")
    large = web.add("/large.jpg", bytes(60_000))
    missing = web.url + "/missing.jpg"
    rows = [Row(2, missing, "a"), Row(3, good, "b"), Row(4, html, "c"), Row(5, missing, "d"), Row(6, large, "e")]
    rows += [Row(7, "nowhere.jpg", "f"), Row(8, good, "g")]
    report = ingest(items(*rows), destination, limits=Limits(max_bytes=50_000))
    assert (report.rows, report.pictures, report.written, report.skipped, report.analysed) == (7, 5, 2, 0, 1)
    assert [error.line for error in report.errors] == [2, 4, 5, 6, 7]
    reasons = {error.line: error.reason for error in report.errors}
    assert reasons[2] == reasons[5] == f"{missing} answered 404 Not Found"
    assert reasons[4].startswith(f"{html}: the 20 bytes are no picture")
    assert "larger" in reasons[6]
    assert "no folder" in reasons[7]
    assert {line for _, line in records()} == {"b", "g"}
    assert len(objects()) == 1
    json.dumps(report.to_json())


def test_a_picture_that_rekognition_refuses_is_reported_and_works_later(destination, web, rekognition):
    url = web.add("/image.jpg", picture())
    rekognition.failures = ["InvalidImageFormatException"]
    report = ingest(items(Row(1, url, "one")), destination)
    assert [error.line for error in report.errors] == [1]
    assert f"{url}: Rekognition does not take the picture" in report.errors[0].reason
    assert ingest(items(Row(1, url, "one")), destination).written == 1


def test_a_busy_rekognition_is_asked_again(destination, web, rekognition):
    rekognition.failures = ["ThrottlingException"]
    report = ingest(items(Row(1, web.add("/image.jpg", picture()), "one")), destination)
    assert (report.written, report.errors) == (1, [])
    assert rekognition.calls["DetectLabels"] == 2


def test_pictures_of_a_folder_and_of_s3_with_settings(destination, rekognition, tmp_path, s3, objects):
    (tmp_path / "cat.jpg").write_bytes(picture())
    s3.put_object(Bucket=destination.bucket, Key="uploads/dog.png", Body=picture(format="PNG"))
    rows = [Row(1, "cat.jpg", "one"), Row(2, f"s3://{destination.bucket}/uploads/dog.png", "two"), Row(3, "../x", "no")]
    report = ingest(
        items(*rows),
        Destination(destination.bucket, destination.table, prefix="elsewhere/"),
        folder=tmp_path,
        detection=Detection(min_confidence=77, text=False),
        threads=1,
    )
    assert (report.written, [error.line for error in report.errors]) == (2, [3])
    names = sorted(name for name in objects() if name.startswith("elsewhere/"))
    assert names == sorted("elsewhere/" + image_key(row.image_url) for row in rows[:2])
    assert rekognition.parameters["MinConfidence"] == 77
    assert "DetectText" not in rekognition.calls


def test_another_file_of_the_same_name_is_not_taken_for_the_one_in_the_bucket(destination, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(picture())
    assert ingest(items(Row(1, "cat.jpg", "one")), destination, folder=tmp_path).written == 1
    (tmp_path / "cat.jpg").write_bytes(picture(size=(300, 300)))
    report = ingest(items(Row(1, "cat.jpg", "two")), destination, folder=tmp_path)
    assert [error.line for error in report.errors] == [1]
    assert "rename the file" in report.errors[0].reason


def test_many_pictures_share_the_clients_of_the_caller(destination, web):
    rows = [Row(n, web.add(f"/{n}.jpg", picture(size=(80 + n, 80))), f"line {n}") for n in range(1, 41)]
    clients = connect(threads=8)
    report = ingest(items(*rows), destination, threads=8, clients=clients)
    assert report == Report(rows=40, pictures=40, written=40, analysed=40)
    assert ingest(items(*rows), destination, threads=8, clients=clients).skipped == 40
    clients.close()


def test_two_ingests_of_the_same_file_at_once_write_each_record_once(destination, web, monkeypatch, table, records):
    url = web.add("/image.jpg", picture())
    key = image_key(url)

    def write_first(handler):  # between this ingest's look and its write
        table.put_item(Item=to_item(Record(key, "one", (Label("First", 99.0),))))
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(picture())

    web.add("/image.jpg", write_first)
    assert ingest(items(Row(1, url, "one")), destination) == Report(rows=1, pictures=1, skipped=1, analysed=1)
    assert records()[key, "one"].labels == (Label("First", 99.0),)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"table": "no-such-table"}, "ResourceNotFoundException.*no-such-table"), ({"bucket": "no-such"}, "NoSuchBucket")],
)
def test_a_destination_that_is_missing_ends_it_at_once(destination, web, change, message):
    url = web.add("/image.jpg", picture())
    rows = [Row(n, f"{url}?{n}", "one") for n in range(50)]
    wrong = Destination(**{"bucket": destination.bucket, "table": destination.table, **change})
    for row in rows:
        web.add("/image.jpg" + row.image_url.removeprefix(url), picture())
    with pytest.raises(IngestError, match=message):
        ingest(items(*rows), wrong, threads=2)
    assert web.requests.total() < 50


def test_a_refused_permission_ends_it_at_once(destination, web, rekognition):
    rekognition.failures = ["AccessDeniedException"]
    with pytest.raises(IngestError, match="DetectLabels failed: AccessDeniedException"):
        ingest(items(Row(1, web.add("/image.jpg", picture()), "one")), destination)


def test_no_region_and_no_network_are_told(destination, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(IngestError, match="Could not connect"):
        ingest(items(Row(1, "x.jpg", "one")), destination)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(IngestError, match="AWS_DEFAULT_REGION"):
        ingest(items(Row(1, "x.jpg", "one")), destination)


def test_nothing_to_do_is_no_error(destination):
    assert ingest([], destination) == Report()


def test_numbers_are_stored_as_decimals(destination, web, table):
    url = web.add("/image.jpg", picture())
    ingest(items(Row(1, url, "one", 0.1)), destination)
    (item,) = table.scan()["Items"]
    assert item["Score"] == Decimal("0.1")
    assert item["Labels"] == [{"Name": "Cat", "Confidence": Decimal("98.7654")}]
    assert item["ImageUrl"] == url
    assert "DetectedText" not in item


def test_reports_of_batches_add_up():
    total = Report.total(
        [Report(3, 1, 1, 1, 1, [RowError(9, "late")]), Report(2, 2, 1, 0, 0, [RowError(4, "early")]), Report()]
    )
    assert total == Report(5, 3, 2, 1, 1, [RowError(4, "early"), RowError(9, "late")])
