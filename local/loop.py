"""The stages of the loop in the local stack, each from what the one before it left to what the next one needs."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from PIL import Image

from cli.follow import entered_states
from local import interruption
from local.folders import Folders
from local.page import Answered, Candidate
from local.process import tail
from local.sagemaker.cloud import PICTURES, Cloud
from local.stage import DemoError, no_rows, say_errors
from local.step import Step
from local.upload import Rewritten, put_pictures, rewritten
from ogiri_aws import endpoints
from ogiri_aws.prepare import folder as ingest_folder
from ogiri_aws.rows import RowError

CSV_KEY = "uploads/rows.csv"
IMAGES_PREFIX = "images/"
PRETRAINED_PREFIX = "pretrained/"
CANDIDATES = 3
MAX_SHOWN = 36
POLL_SECONDS = 0.25
COUNT_SECONDS = 2.0  # between two looks at how far the ingest is
START_SECONDS = 60.0  # until an upload has started the state machine
ENDPOINT_SECONDS = 180.0
SENT_BYTES = 2_500_000  # of a picture: a serverless endpoint takes 4 MB, and base64 adds a third
SENT_SIDE = 1600  # pixels
STATES = {
    "Prepare": "prepare reads the CSV",
    "Taken?": "whether another execution has this upload",
    "Ingest": "ingest takes the pictures",
    "StartTraining": "start_training",
}


def upload(csv: Path, images: Path | None, pretrained: Path | None, cloud: Cloud, step: Step) -> Rewritten:
    """Pictures and weights into the bucket, then the CSV, which starts everything else."""
    bucket, s3 = cloud.aws.bucket, boto3.client("s3")
    rows = rewritten(csv, images, f"s3://{bucket}/{PICTURES}")
    say_errors(step, [str(error) for error in rows.errors])
    if not rows.rows:
        raise DemoError(no_rows(csv))
    for path in sorted(pretrained.rglob("*")) if pretrained else ():
        if path.is_file() and pretrained:
            s3.upload_file(str(path), bucket, f"{PRETRAINED_PREFIX}{path.relative_to(pretrained).as_posix()}")
    if images is not None:
        put_pictures(s3, bucket, PICTURES, images, rows.pictures, step.progress)
    s3.put_object(Bucket=bucket, Key=CSV_KEY, Body=rows.csv)
    step.result = f"{rows.rows} lines for {len(rows.urls)} pictures in s3://{bucket}/{CSV_KEY}"
    return rows


def walked(cloud: Cloud, rows: Rewritten, step: Step) -> str:
    """Follow the state machine that the upload has started to its end; returns the name of the job."""
    client = boto3.client("stepfunctions")
    arn = _started(client, cloud, step)
    execution = arn.rpartition(":")[2]
    said = 0
    counted = 0.0
    while True:
        described = client.describe_execution(executionArn=arn)
        entered = list(entered_states(client, arn))
        for name in entered[said:]:
            step.say(f"{name}: {STATES[name]}" if name in STATES else name)
        said = len(entered)
        if described["status"] != "RUNNING":
            break
        if "Ingest" in entered and time.monotonic() - counted > COUNT_SECONDS:
            counted = time.monotonic()
            step.progress(_stored(cloud), len(rows.urls), "pictures stored")
        _pause()
    say_errors(step, [str(error) for error in _errors(cloud, execution, rows)])
    if described["status"] != "SUCCEEDED":
        raise DemoError(f"the state machine {described['status']}: {described.get('error')}: {described.get('cause')}")
    records = boto3.resource("dynamodb").Table(cloud.aws.table).scan(Select="COUNT")["Count"]
    job: str = json.loads(described["output"])["training_job"]
    step.result = f"{_stored(cloud)} pictures, records: {records}"
    return job


def trained(job: str, log: Path, epochs: int, step: Step) -> None:
    """Follow a training job to its end.

    Args:
        job: its name.
        log: what it prints.
        epochs: that it will run.
        step: told of each.
    """
    client = boto3.client("sagemaker")
    lines = _lines(log)
    on_line = _epochs(epochs, step)
    while (described := client.describe_training_job(TrainingJobName=job))["TrainingJobStatus"] == "InProgress":
        for line in lines():
            on_line(line)
        _pause()
    if described["TrainingJobStatus"] != "Completed":
        reason = described.get("FailureReason", "no reason given").partition("\n")[0]
        raise DemoError(f"training job {job} {described['TrainingJobStatus'].lower()}: {reason}\n(its log is {log})")
    step.result = f"{described['ModelArtifacts']['S3ModelArtifacts']}"


def served(cloud: Cloud, job: str, log: Path, step: Step) -> None:
    """Wait until the endpoint serves the job's model.

    Args:
        cloud: where it is.
        job: its name.
        log: of `end_training`.
        step: told of its states.
    """
    client = boto3.client("sagemaker")
    deadline = time.monotonic() + ENDPOINT_SECONDS
    said = ""
    while time.monotonic() < deadline:
        state = endpoints.status(client, cloud.endpoint)[0] or "not there yet"
        if state != said:
            said = state
            step.say(f"{cloud.endpoint}: {state}")
        if state == "InService":
            step.result = f"endpoint {cloud.endpoint} serves {job}"
            return
        if state == "Failed":
            raise DemoError(client.describe_endpoint(EndpointName=cloud.endpoint)["FailureReason"])
        _pause()
    told = tail(log) if log.is_file() else "(none)"
    raise DemoError(
        f"endpoint {cloud.endpoint} is {said} after {ENDPOINT_SECONDS:g} s; the log of end_training:\n{told}"
    )


def asked(cloud: Cloud, folders: Folders, step: Step) -> list[Answered]:
    """Lines for the pictures that the trainer did not learn from, by `invoke_endpoint`."""
    held_out = folders.samples()[:MAX_SHOWN]
    if not held_out:
        raise DemoError(f"the trainer wrote no samples, so no picture is known to be held out: see {folders.out}")
    runtime = boto3.client("sagemaker-runtime")
    answered = []
    for done, sample in enumerate(held_out, start=1):
        picture = (folders.pictures / sample["image_key"]).read_bytes()
        labels, text = sample.get("labels") or [], sample.get("detected_text") or ""
        answer = runtime.invoke_endpoint(
            EndpointName=cloud.endpoint,
            Body=json.dumps(_request(picture, labels, text)).encode(),
            ContentType="application/json",
            Accept="application/json",
        )
        captions = json.loads(answer["Body"].read())["captions"]
        candidates = [Candidate(caption["text"], caption["score"]) for caption in captions]
        names = [(label["Name"], label.get("Confidence")) for label in labels]
        answered.append(Answered(picture, candidates, sample["references"], names, text))
        step.progress(done, len(held_out))
        step.say(f"{sample['image_key']}  {', '.join(name for name, _ in names[:4])}{f'  「{text}」' if text else ''}")
        for candidate in candidates:
            step.say(f"  {candidate.score:6.2f}  {candidate.text}")
    step.result = f"{len(answered)} pictures"
    return answered


def _started(client: Any, cloud: Cloud, step: Step) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = client.list_executions(stateMachineArn=cloud.machine)["executions"]
        if found:
            step.say(f"execution {found[0]['name']}, started by the upload")
            return str(found[0]["executionArn"])
        _pause()
    raise DemoError(f"the upload started no execution of {cloud.machine} within {START_SECONDS:g} s")


def _keys(cloud: Cloud, prefix: str) -> Iterator[str]:
    for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=cloud.aws.bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"]


def _stored(cloud: Cloud) -> int:
    return sum(1 for _ in _keys(cloud, IMAGES_PREFIX))


def _errors(cloud: Cloud, execution: str, rows: Rewritten) -> list[RowError]:
    """The rows that the functions left out, by lines of the CSV that was given."""
    s3 = boto3.client("s3")
    found = []
    for key in _keys(cloud, f"{ingest_folder(execution)}/errors/"):
        body = s3.get_object(Bucket=cloud.aws.bucket, Key=key)["Body"].read()
        told = [json.loads(line) for line in body.splitlines()]
        found += [RowError(rows.lines.get(error["line"], error["line"]), error["reason"]) for error in told]
    return sorted(found, key=lambda error: error.line)


def _lines(log: Path) -> Callable[[], Iterator[str]]:
    """Reads the lines that a log has got since the last time."""
    place = 0

    def more() -> Iterator[str]:
        nonlocal place
        if not log.is_file():
            return
        with log.open("rb") as file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                place += len(line)
                yield line.decode("utf-8", errors="replace")

    return more


def _epochs(total: int, step: Step) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        values = dict(re.findall(r"(\w+)=([-\d.]+);", line))
        if "epoch" in values and "train_loss" in values:
            losses = [
                f"{name} {float(values[name]):.3f}" for name in ("train_loss", "validation_loss") if name in values
            ]
            step.progress(int(float(values["epoch"])), total, ", ".join(losses))

    return on_line


def _request(picture: bytes, labels: list[dict[str, Any]], text: str) -> Mapping[str, Any]:
    """The JSON request for a picture with what is known about it."""
    if len(picture) > SENT_BYTES:
        with Image.open(io.BytesIO(picture)) as opened:
            small = opened.convert("RGB")
        small.thumbnail((SENT_SIDE, SENT_SIDE))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=90)
        picture = stream.getvalue()
    image = base64.b64encode(picture).decode()
    parameters = {"num_candidates": CANDIDATES, "seed": 0}
    return {"image": image, "labels": labels, "detected_text": text, "parameters": parameters}


def _pause() -> None:
    interruption.check()
    time.sleep(POLL_SECONDS)
