"""Rows and records without a stack: the data as `make tune` needs it, ingested in this process."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.aws import EmbeddedAWS, embedded_aws
from local.folders import Folders
from local.options import Options
from local.rekognition import Rekognition, rekognition_server
from local.step import Step
from ogiri_aws.ingest import Destination, Report, ingest
from ogiri_aws.items import Items, group
from ogiri_aws.rows import read_rows

IMAGES_PREFIX = "images/"
SHOWN_ERRORS = 5
NOTICE_LEARNS_TO_SEE = (
    "No pretrained encoder: this model learns to see from your pictures alone, which takes thousands of them. "
    "With PRETRAINED=folder (mobilenet_v2.pth, for example) it starts with eyes."
)


class DemoError(RuntimeError):
    """A stage that cannot go on; the message says why, and what to do."""


def source(options: Options, step: Step) -> tuple[Path, Path | None]:
    """The CSV, and the folder that its pictures lie in."""
    if options.csv is None:
        from examples.draw import draw

        shutil.rmtree(options.out / "examples", ignore_errors=True)
        csv = draw(options.out / "examples", step.progress)
        return csv, csv.parent / "images"
    if options.pretrained is None:
        step.say(NOTICE_LEARNS_TO_SEE)
    return options.csv, options.images


def rows(options: Options, step: Step) -> tuple[Items, Path | None]:
    """The pictures with their lines, and the folder that the pictures lie in."""
    csv, images = source(options, step)
    with csv.open("rb") as file:
        items = group(read_rows(file))
    say_errors(step, [str(error) for error in items.errors])
    if not items.pictures:
        raise DemoError(no_rows(csv))
    step.result = f"{len(items.pictures)} pictures with {sum(len(item.lines) for item in items.pictures)} lines"
    return items, images


def no_rows(csv: Path) -> str:
    """What to say of a CSV without a single row that can be used."""
    return f"{csv} has no row that can be used: it needs image_url,expected_result[,score]"


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
    say_errors(step, [str(error) for error in report.errors])
    if not report.written:
        raise DemoError("no record was written, so there is nothing to learn from")
    step.result = f"{report.written} records, {report.analysed} pictures analysed"
    return report


def say_errors(step: Step, errors: Sequence[str]) -> None:
    """Name the first rows that were left out, and how many there are more."""
    for error in errors[:SHOWN_ERRORS]:
        step.say(f"left out: {error}")
    if len(errors) > SHOWN_ERRORS:
        step.say(f"left out: {len(errors) - SHOWN_ERRORS} more rows")
