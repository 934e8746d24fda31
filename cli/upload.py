"""Check a CSV, upload it, and follow what becomes of it.

The upload starts the state machine: pictures are fetched, a job trains, its model serves. With --wait every step is
printed until the endpoint answers with the new model.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import boto3

from cli import csv_file, follow
from cli.errors import CommandError
from cli.places import BUCKET, ENDPOINT, MACHINE, Places, add_options
from ogiri_aws.uploads import Upload

PREFIX = "uploads/"
SHOWN_ERRORS = 5
MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("csv", type=Path, metavar="CSV", help="image_url,expected_result[,score] in UTF-8 or Shift_JIS")
    parser.add_argument("--name", help="in the bucket, below uploads/ (the file's own)")
    parser.add_argument("--wait", action="store_true", help="until the endpoint serves the new model")
    parser.add_argument("--timeout", type=float, default=24 * 3600.0, metavar="SECONDS", help="of --wait (a day)")
    add_options(parser, BUCKET, MACHINE, ENDPOINT)


def run(options: argparse.Namespace) -> int:
    """Upload; raises CommandError."""
    name = options.name or options.csv.name
    if not name.endswith((".csv", ".CSV")):
        raise CommandError(f"{name!r} does not end in .csv, so nothing would start: give it a --name that does")
    checked = csv_file.check(options.csv)
    print(f"{options.csv}: {checked.rows:,} rows of {len(checked.pictures):,} pictures", flush=True)
    for error in checked.errors[:SHOWN_ERRORS]:
        print(f"  left out: {error}")
    if len(checked.errors) > SHOWN_ERRORS:
        print(f"  and {len(checked.errors) - SHOWN_ERRORS:,} more rows that cannot be used")
    places = Places(options)
    bucket, key = places.get(BUCKET), PREFIX + name
    s3 = boto3.client("s3")
    started = time.time()
    s3.upload_file(str(options.csv), bucket, key, Callback=_Progress(options.csv.stat().st_size))
    version = s3.head_object(Bucket=bucket, Key=key).get("VersionId", "null")
    known = "" if version == "null" else version
    print(f"uploaded s3://{bucket}/{key}{f' as version {known}' if known else ''}", flush=True)
    upload = Upload(bucket, key, known, known)
    way = follow.Way(places, upload, started, options.timeout)
    if not options.wait:
        print(way.hint())
        return 0
    return 0 if way.walk() else 1


class _Progress:
    """Tells of an upload in one line that is written over, where somebody watches."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        if sys.stderr.isatty():
            end = "\n" if self._done >= self._size else ""
            text = f"\r{self._done / MEGABYTE:.1f} of {self._size / MEGABYTE:.1f} MB"
            print(text, end=end, file=sys.stderr, flush=True)
