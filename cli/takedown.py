"""A target → everything of it that is stored, and its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CommandError
from cli.results import items
from cli.target import Target
from ogiri.record import image_key
from ogiri_aws import forgotten
from ogiri_aws.prepare import FOLDER as INGEST
from ogiri_aws.results import CAPTIONED_PREFIX, REQUESTS_PREFIX
from ogiri_aws.rows import CsvError, RowError, read_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBServiceResource
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

IMAGES = "images/"
UPLOADS = "uploads/"
BATCH = 1000  # objects that S3 deletes in one call
SHOWN_LINES = 5


@dataclass(frozen=True)
class Stores:
    """Where things are; without `results` or `machine` they are not looked at, and that is said."""

    s3: S3Client
    dynamodb: DynamoDBServiceResource
    states: SFNClient
    bucket: str
    table: str
    results: str | None
    machine: str | None

    def answer(self, key: str) -> Mapping[str, Any] | None:
        """An answer of the API by its id."""
        if self.results is None:
            raise CommandError(
                "no table of answers is known: name it with --results-table, set RESULTS_TABLE_NAME, or give --stack"
            )
        return self.dynamodb.Table(self.results).get_item(Key={"ResultId": key}).get("Item")


@dataclass
class Plan:
    """What goes, what keeps it away, and what stays.

    Attributes:
        bucket, table, results: where.
        records: image key and line of each.
        objects: key and version of each object.
        answers: their ids.
        names: for the list of what must not come back.
        known: those of them that are on it.
        notes: what of it stays where it is.
    """

    bucket: str
    table: str
    results: str | None
    records: list[tuple[str, str]] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)

    def sections(self) -> list[tuple[str, list[str]]]:
        """For people."""
        return [
            (f"records of {self.table}", [f"{key}  {line}" for key, line in self.records]),
            (
                f"objects of s3://{self.bucket}, versions counted",
                [f"{key}  {version}" for key, version in self.objects],
            ),
            (f"answers of {self.results or 'no table'}", self.answers),
        ]

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        return {
            "records": [{"ImageKey": key, "ExpectedResult": line} for key, line in self.records],
            "objects": [{"key": key, "version": version} for key, version in self.objects],
            "answers": self.answers,
            "forgotten": [forgotten.FOLDER + name for name in self.names],
            "notes": self.notes,
        }


def plan(stores: Stores, target: Target) -> Plan:
    """Look for everything; changes nothing but what `target` knows of the picture's names.

    Raises:
        CommandError: a table is not there.
    """
    found = Plan(stores.bucket, stores.table, stores.results, names=target.names())
    found.known = forgotten.read(stores.s3, stores.bucket).names
    for item in _records(stores, target):
        found.records.append((str(item["ImageKey"]), str(item["ExpectedResult"])))
        if not target.everywhere and item.get("ImageUrl"):
            target.urls.add(str(item["ImageUrl"]))
    prefixes = _answers(stores, target, found)
    if target.line is None:
        prefixes += [IMAGES + key for key in target.keys] + [CAPTIONED_PREFIX + key for key in target.captioned]
    for key in dict.fromkeys(prefixes):
        found.objects += _versions(stores, key)
    running = _running(stores, found)
    for key in _ingested(stores, target):
        if key.split("/")[1] in running:
            found.notes.append(f"s3://{stores.bucket}/{key}: its upload is still being ingested. Run this again then")
        else:
            found.objects += _versions(stores, key)
    found.notes += _uploads(stores, target)
    return found


def carry_out(stores: Stores, found: Plan) -> None:
    """Do it. The list comes first: an ingest that is under way then writes nothing of it any more."""
    forgotten.remember(stores.s3, stores.bucket, [name for name in found.names if name not in found.known])
    with stores.dynamodb.Table(stores.table).batch_writer() as writer:
        for key, line in found.records:
            writer.delete_item(Key={"ImageKey": key, "ExpectedResult": line})
    if stores.results is not None:
        with stores.dynamodb.Table(stores.results).batch_writer() as writer:
            for answer in found.answers:
                writer.delete_item(Key={"ResultId": answer})
    for first in range(0, len(found.objects), BATCH):
        batch: list[Any] = [{"Key": key, "VersionId": version} for key, version in found.objects[first : first + BATCH]]
        deleted = stores.s3.delete_objects(Bucket=stores.bucket, Delete={"Objects": batch, "Quiet": True})
        for trouble in deleted.get("Errors", ()):
            place = f"s3://{stores.bucket}/{trouble.get('Key')}"
            raise CommandError(f"{place} stays: {trouble.get('Code')}: {trouble.get('Message')}")


def _records(stores: Stores, target: Target) -> Iterator[Mapping[str, Any]]:
    table = stores.dynamodb.Table(stores.table)
    try:
        if target.everywhere:  # the line is a sort key: only a scan finds it with every picture
            yield from _pages(table.scan, FilterExpression=Attr("ExpectedResult").eq(target.line))
            return
        for key in sorted(target.keys):
            condition = Key("ImageKey").eq(key)
            if target.line is not None:
                condition = condition & Key("ExpectedResult").eq(target.line)  # type: ignore[assignment]
            yield from _pages(table.query, KeyConditionExpression=condition, ConsistentRead=True)
    except ClientError as error:
        raise CommandError(f"table {stores.table} cannot be read: {error}") from error


def _pages(read: Any, **request: Any) -> Iterator[Mapping[str, Any]]:
    while True:
        page = read(**request)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _answers(stores: Stores, target: Target, found: Plan) -> list[str]:
    """Note the answers; returns the keys of objects that belong to them."""
    if stores.results is None:
        found.notes.append("answers of the API: no table of answers is known (--results-table, RESULTS_TABLE_NAME)")
        return []
    objects: list[str] = []
    repeats: list[Mapping[str, Any]] = []
    for item in items(stores.results):
        if "RepeatStatus" in item:  # caption_api keeps answers with an Idempotency-Key for an hour
            repeats.append(item)
        elif target.has_answer(item):
            found.answers.append(str(item["ResultId"]))
            objects.append(f"{REQUESTS_PREFIX}{item['ResultId']}.json")
            if target.line is None and item.get("ImageKey"):
                target.captioned.add(str(item["ImageKey"]))
            for place in ("OutputLocation", "FailureLocation"):
                bucket, _, key = str(item.get(place, "")).removeprefix("s3://").partition("/")
                objects += [key] if bucket == stores.bucket and key else []
    gone = set(found.answers)
    found.answers += [str(item["ResultId"]) for item in repeats if _repeated(item) in gone]
    return objects


def _repeated(item: Mapping[str, Any]) -> str | None:
    try:
        return str(json.loads(item["data"])[1]["id"])
    except (KeyError, ValueError, TypeError, IndexError):
        return None


def _versions(stores: Stores, key: str) -> list[tuple[str, str]]:
    """Every version of an object, and every mark of deletion."""
    pages = stores.s3.get_paginator("list_object_versions").paginate(Bucket=stores.bucket, Prefix=key)
    found = []
    for page in pages:
        for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if entry["Key"] == key:
                found.append((key, entry["VersionId"]))
    return found


def _running(stores: Stores, found: Plan) -> set[str]:
    """Names of executions whose files are still read."""
    if stores.machine is None:
        return set()
    try:
        pages = stores.states.get_paginator("list_executions").paginate(
            stateMachineArn=stores.machine, statusFilter="RUNNING"
        )
        names = {entry["name"] for page in pages for entry in page["executions"]}
    except (ClientError, BotoCoreError) as error:
        found.notes.append(f"uploads under way: they cannot be listed ({error})")
        return set()
    if names:
        found.notes.append(
            f"uploads under way ({', '.join(sorted(names))}): what a batch had begun to write may come. "
            "Run this again when they have ended"
        )
    return names


def _ingested(stores: Stores, target: Target) -> Iterator[str]:
    """Keys of what the ingest wrote down of it: items, lines beside them, reports, results of batches."""
    places = [text.encode() for text in (*target.keys, *target.urls)]
    lines = [] if target.line is None else _spellings(target.line)
    for key in _keys(stores, f"{INGEST}/"):
        body = stores.s3.get_object(Bucket=stores.bucket, Key=key)["Body"].read()
        named = any(place in body or place in key.encode() for place in places)
        said = any(line in body for line in lines)
        if (named or target.everywhere) and (said or target.line is None):
            yield key


def _spellings(line: str) -> list[bytes]:
    """A line as it stands in JSON, in JSON within JSON, and with every character escaped."""
    once = json.dumps(line, ensure_ascii=False)[1:-1]
    twice = json.dumps(once, ensure_ascii=False)[1:-1]
    return [text.encode() for text in (once, twice, json.dumps(line)[1:-1])]


def _uploads(stores: Stores, target: Target) -> list[str]:
    """Which uploaded CSVs still have it, with the numbers of their rows."""
    notes = []
    for key in _keys(stores, UPLOADS):
        body = stores.s3.get_object(Bucket=stores.bucket, Key=key)["Body"]
        try:
            numbers = [
                row.line_number
                for row in read_rows(body)  # type: ignore[arg-type]  # a BinaryIO in all but name
                if not isinstance(row, RowError) and target.has_record(image_key(row.image_url), row.line)
            ]
        except CsvError:  # no CSV, so no ingest reads it
            continue
        if numbers:
            notes.append(
                f"s3://{stores.bucket}/{key} has it in {_numbered(numbers)}: the ingest leaves it out. If its text "
                "must go too, correct the file, or delete it with its versions"
            )
    return notes


def _numbered(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN_LINES]))
    more = len(numbers) - SHOWN_LINES
    return f"line {shown}" + (f" and {more} more" if more > 0 else "")


def _keys(stores: Stores, prefix: str) -> Iterator[str]:
    """Keys below a prefix; on a terminal it is shown how many have been read."""
    pages = stores.s3.get_paginator("list_objects_v2").paginate(Bucket=stores.bucket, Prefix=prefix)
    shown = sys.stderr.isatty()
    for number, entry in enumerate((entry for page in pages for entry in page.get("Contents", ())), 1):
        if shown:
            print(f"\rreading s3://{stores.bucket}/{prefix}: {number:,} files", end="", file=sys.stderr, flush=True)
        yield entry["Key"]
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
