"""The loop that people write: a row after the other, and for each of them all calls one after the other.

    python -m benchmarks.aws.row_by_row CSV BUCKET TABLE        prints the seconds, imports not counted

Each row fetches its picture, stores it, asks Rekognition twice and writes its record, with boto3's own defaults and
one connection to each service. The record is what the project's own is, so that both tables can be compared.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import boto3
import requests

from ogiri.record import Record, image_key, labels_from, to_item


def ingest(path: Path, bucket: str, table: str) -> None:
    """Write a record for each row."""
    s3, rekognition = boto3.client("s3"), boto3.client("rekognition")
    records, web = boto3.resource("dynamodb").Table(table), requests.Session()
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            url = row["image_url"]
            key, data = image_key(url), web.get(url, timeout=30).content
            s3.put_object(Bucket=bucket, Key=f"images/{key}", Body=data, ContentType="image/jpeg")
            found = rekognition.detect_labels(Image={"Bytes": data}, MinConfidence=30.0, MaxLabels=10)["Labels"]
            texts = rekognition.detect_text(Image={"Bytes": data})["TextDetections"]
            text = " ".join(detection["DetectedText"] for detection in texts if detection["Type"] == "LINE")
            labels = labels_from(found)
            record = Record(key, row["expected_result"], labels, text, url, float(row["score"]))
            records.put_item(Item=to_item(record))


if __name__ == "__main__":
    start = time.perf_counter()
    ingest(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    print(time.perf_counter() - start)
