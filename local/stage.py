"""The stages of a demo, each from what the one before it left to what the next one needs."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from local import job
from local.aws import EmbeddedAWS, embedded_aws
from local.endpoint import Endpoint, picture_request
from local.folders import Folders
from local.options import Options
from local.page import Answered, Candidate
from local.rekognition import Rekognition, rekognition_server
from local.step import Step
from ogiri_aws.ingest import Destination, Report, ingest
from ogiri_aws.items import Items, group
from ogiri_aws.rows import read_rows

JOB_NAME = "ogiri-demo"
IMAGES_PREFIX = "images/"
CANDIDATES = 3
MAX_SHOWN = 36
SHOWN_ERRORS = 5
NOTICE_LEARNS_TO_SEE = (
    "No pretrained encoder: this model learns to see from your pictures alone, which takes thousands of them. "
    "With PRETRAINED=folder (mobilenet_v2.pth, for example) it starts with eyes."
)


class DemoError(RuntimeError):
    """A stage that cannot go on; the message says why, and what to do."""


def rows(options: Options, step: Step) -> tuple[Items, Path | None]:
    """The pictures with their lines, and the folder that the pictures lie in."""
    csv, images = options.csv, options.images
    if csv is None:
        from examples.draw import draw

        shutil.rmtree(options.out / "examples", ignore_errors=True)
        csv = draw(options.out / "examples", step.progress)
        images = csv.parent / "images"
    elif options.pretrained is None:
        step.say(NOTICE_LEARNS_TO_SEE)
    with csv.open("rb") as file:
        items = group(read_rows(file))
    _say_errors(step, [str(error) for error in items.errors])
    if not items.pictures:
        raise DemoError(f"{csv} has no row that can be used: it needs image_url,expected_result[,score]")
    step.result = f"{len(items.pictures)} pictures with {sum(len(item.lines) for item in items.pictures)} lines"
    return items, images


@contextlib.contextmanager
def embedded_cloud(options: Options, folders: Folders, step: Step) -> Iterator[tuple[EmbeddedAWS, Rekognition]]:
    """S3, DynamoDB and Rekognition on loopback."""
    with (
        embedded_aws(log=folders.log("aws")) as aws,
        rekognition_server(
            aws.process_environment(), pretrained=options.pretrained, log=folders.log("rekognition")
        ) as rekognition,
    ):
        for notice in rekognition.notices:
            step.say(notice)
        yield aws.with_rekognition(rekognition.endpoint_url), rekognition


def ingested(items: Items, images: Path | None, aws: EmbeddedAWS, step: Step) -> Report:
    """What the Lambdas do, in one process."""
    destination = Destination(aws.bucket, aws.table, IMAGES_PREFIX)
    with aws.applied():
        report = ingest(items.pictures, destination, folder=images, progress=step.progress)
    _say_errors(step, [str(error) for error in report.errors])
    if not report.written:
        raise DemoError("no record was written, so there is nothing to learn from")
    step.result = f"{report.written} records, {report.analysed} pictures analysed"
    return report


def train(options: Options, folders: Folders, aws: EmbeddedAWS, step: Step) -> None:
    """One training job."""
    channels = {"training": None} | ({"pretrained": options.pretrained} if options.pretrained else {})
    job.prepare(folders.training, options.hyperparameters, channels)
    job.download(aws.client("s3"), aws.bucket, IMAGES_PREFIX, folders.pictures)
    environment = aws.process_environment() | {"DYNAMODB_TABLE_NAME": aws.table, "TRAINING_JOB_NAME": JOB_NAME}
    step.say(" ".join(f"{name}={value}" for name, value in options.hyperparameters.items()))
    job.train(folders.training, environment, folders.log("train"), _epochs(options, step))
    facts = folders.metrics()
    step.result = f"{facts['train_lines']} lines for {facts['train_pictures']} pictures, {facts['epochs']} epochs"


def asked(endpoint: Endpoint, folders: Folders, step: Step) -> list[Answered]:
    """Lines for the pictures that the trainer did not learn from."""
    held_out = folders.samples()[:MAX_SHOWN]
    if not held_out:
        raise DemoError(
            f"the trainer wrote no samples, so no picture is known to be held out: see {folders.log('train')}"
        )
    answered = []
    for done, sample in enumerate(held_out, start=1):
        picture = (folders.pictures / sample["image_key"]).read_bytes()
        parameters = {"num_candidates": CANDIDATES, "seed": 0}
        labels, text = sample.get("labels") or [], sample.get("detected_text") or ""
        captions = endpoint.invoke(picture_request(picture, labels, text, parameters))["captions"]
        candidates = [Candidate(caption["text"], caption["score"]) for caption in captions]
        names = [(label["Name"], label.get("Confidence")) for label in labels]
        answered.append(Answered(picture, candidates, sample["references"], names, text))
        step.progress(done, len(held_out))
        step.say(f"{sample['image_key']}  {', '.join(name for name, _ in names[:4])}{f'  「{text}」' if text else ''}")
        for candidate in candidates:
            step.say(f"  {candidate.score:6.2f}  {candidate.text}")
    step.result = f"{len(answered)} pictures"
    return answered


def _epochs(options: Options, step: Step) -> Callable[[str], None]:
    total = int(options.hyperparameters["epochs"])

    def on_line(line: str) -> None:
        values = dict(re.findall(r"(\w+)=([-\d.]+);", line))
        if "epoch" in values and "train_loss" in values:
            losses = [
                f"{name} {float(values[name]):.3f}" for name in ("train_loss", "validation_loss") if name in values
            ]
            step.progress(int(float(values["epoch"])), total, ", ".join(losses))

    return on_line


def _say_errors(step: Step, errors: list[str]) -> None:
    for error in errors[:SHOWN_ERRORS]:
        step.say(f"left out: {error}")
    if len(errors) > SHOWN_ERRORS:
        step.say(f"left out: {len(errors) - SHOWN_ERRORS} more rows")
