"""Lines of the API that people have given stars, best first; --rows makes a CSV of them that `ogiri upload` takes.

A row's score is the sum of the stars, so what many people liked weighs more. Only lines with --min-stars on average
become rows, and only those whose picture was kept (the template's KeepPictures).
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.errors import CommandError
from cli.places import BUCKET, RESULTS, Places, add_options
from ogiri.record import RecordError, check_line
from ogiri_aws.results import CAPTIONED_PREFIX

MAX_STARS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--rows", type=Path, metavar="OUT.CSV", help="write them as new training rows")
    parser.add_argument("--min-stars", type=float, default=3.0, metavar="STARS", help="on average, 0 to 5 (3)")
    parser.add_argument("--min-votes", type=int, default=1, metavar="N", help="of people (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_options(parser, RESULTS, BUCKET)


@dataclass(frozen=True)
class Scored:
    """A line that people gave stars.

    Attributes:
        id: of the answer.
        caption: its place in the answer, from 0.
        image_key: of the picture below `captioned/`.
        text: the line.
        votes: how many people.
        stars: their sum.
        model: that wrote it.
    """

    id: str
    caption: int
    image_key: str
    text: str
    votes: int
    stars: float
    model: str

    @property
    def mean(self) -> float:
        """Stars a person."""
        return self.stars / self.votes


def run(options: argparse.Namespace) -> int:
    """Print or write them."""
    if not 0 <= options.min_stars <= MAX_STARS:
        raise CommandError(f"--min-stars is {options.min_stars:g}: it must be 0 to {MAX_STARS:g}")
    places = Places(options)
    found = sorted(_scored(places.get(RESULTS)), key=lambda line: (line.mean, line.votes), reverse=True)
    chosen = [line for line in found if line.votes >= options.min_votes and line.mean >= options.min_stars]
    if options.rows:
        _write(options.rows, chosen, places.get(BUCKET))
    elif options.json:
        for line in chosen:
            print(json.dumps({**asdict(line), "mean": round(line.mean, 2)}, ensure_ascii=False))
    else:
        for line in chosen:
            print(f"{line.mean:4.2f} stars of {line.votes:>4}  {line.text}  ({line.id})")
        print(f"{len(chosen)} of {len(found)} lines with stars")
    return 0


def _scored(table: str) -> Iterator[Scored]:
    for item in items(table):
        for place, caption in enumerate(item.get("Captions", ())):
            if caption["Votes"]:
                yield Scored(
                    str(item["ResultId"]),
                    place,
                    str(item.get("ImageKey", "")),
                    str(caption["Text"]),
                    int(caption["Votes"]),
                    float(caption["Stars"]),
                    str(item.get("Model", "")),
                )


def items(table: str) -> Iterator[Mapping[str, Any]]:
    """Everything in a table, as boto3's Table reads it.

    Raises:
        CommandError: there is no such table.
    """
    reader = boto3.resource("dynamodb").Table(table)
    more: dict[str, Any] = {}
    while True:
        try:
            page = reader.scan(**more)
        except ClientError as error:
            raise CommandError(f"table {table} cannot be read: {error}") from error
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _write(path: Path, chosen: Sequence[Scored], bucket: str) -> None:
    """Rows of the lines whose picture is there; equal ones of several answers are one, their stars added."""
    kept = _kept(bucket)
    totals: dict[tuple[str, str], float] = {}
    without = unusable = 0
    for line in chosen:
        if line.image_key not in kept:
            without += 1
            continue
        try:
            key = (f"s3://{bucket}/{CAPTIONED_PREFIX}{line.image_key}", check_line(line.text))
        except RecordError:
            unusable += 1
            continue
        totals[key] = totals.get(key, 0.0) + line.stars
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image_url", "expected_result", "score"])
            writer.writerows([url, text, f"{stars:g}"] for (url, text), stars in totals.items())
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    print(f"{path}: {len(totals)} rows of {len({url for url, _ in totals})} pictures")
    if without:
        print(f"{without} lines are left out: their pictures were not kept, or are kept no more")
    if unusable:
        print(f"{unusable} lines are left out: they are longer than a record's line may be")


def _kept(bucket: str) -> set[str]:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=CAPTIONED_PREFIX)
    return {entry["Key"].removeprefix(CAPTIONED_PREFIX) for page in pages for entry in page.get("Contents", ())}
