"""The way of a CSV through the functions, as the state machine walks it."""

import json

import pytest
from stand_ins import picture

from ogiri.record import image_key
from tests.handlers import Context, load, object_created


@pytest.fixture
def walk(sagemaker, destination, objects, monkeypatch):
    for name, value in {
        "PROJECT": "ogiri",
        "BUCKET": destination.bucket,
        "DYNAMODB_TABLE_NAME": destination.table,
        "PICTURE_NETWORKS": "127.0.0.2/32",
        "STATE_MACHINE_ARN": "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ogiri",
        "TRAINING_IMAGE": "image",
        "TRAINING_ROLE_ARN": "arn:aws:iam::123456789012:role/training-role",
    }.items():
        monkeypatch.setenv(name, value)
    prepare, ingest, start = (load(name).lambda_handler for name in ("prepare", "ingest", "start_training"))

    def walk(event: dict, execution: str) -> dict:
        state = prepare({"execution": execution, "upload": event}, Context())
        if "taken_by" in state:
            return state
        items = json.loads(objects()[state["key"]])
        for first in range(0, len(items), 2):
            batch = {"Items": items[first : first + 2], "BatchInput": {"execution": state["execution"]}}
            while batch.get("unfinished", 1):
                batch = json.loads(json.dumps(ingest(json.loads(json.dumps(batch)), Context())))
        return start({"execution": state["execution"], "upload": state["upload"]}, Context())

    return walk


def test_an_uploaded_csv_becomes_records_and_one_job_however_often_its_event_comes(
    walk, outside, s3, destination, records, objects, sagemaker, rekognition
):
    urls = [outside.add(f"/{name}/image.jpg", picture(color=name)) for name in ("red", "green", "blue")]
    rows = "".join(f'{url},"一言 {number}\nの続き",{number}\n' for url in urls for number in (1, 2))
    key = "uploads/お題 2026.csv"
    csv = f"image_url,expected_result,score\n{rows}{outside.url}/gone.jpg,無い,\n"
    s3.put_object(Bucket=destination.bucket, Key=key, Body=csv.encode("cp932"))

    first = walk(object_created(destination.bucket, key, "1"), "first")
    assert set(records()) == {(image_key(url), f"一言 {number}\nの続き") for url in urls for number in (1, 2)}
    (report,) = (name for name in objects() if name.startswith("ingest/first/errors/"))
    assert json.loads(objects()[report])["line"] == 14
    assert rekognition.calls["DetectLabels"] == 3
    before = records()

    assert first["started"]
    assert walk(object_created(destination.bucket, key, "1"), "second")["taken_by"] == "first"
    assert records() == before
    assert rekognition.calls["DetectLabels"] == 3
    assert walk(object_created(destination.bucket, key, "2"), "third")["started"]
    assert records() == before
    assert rekognition.calls["DetectLabels"] == 3
    assert len(sagemaker.jobs) == 2
