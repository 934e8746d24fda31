"""The training data as it lies in AWS → records: from the table, or from the files of the `records` channel."""

from __future__ import annotations

import gzip
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.exceptions import ConnectionError as NetworkError

from ogiri.captioning.data.records import DataError, Records, RecordsBuilder
from ogiri.record import RecordError, from_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ATTRIBUTES = ("ImageKey", "ExpectedResult", "Labels", "DetectedText", "Score")
SEGMENTS = 4
MAX_INVALID_SHARE = 0.05
EXAMPLES = 5  # of invalid records in the log
PROGRESS_RECORDS = 50_000

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_EXPORT_MANIFESTS = ("manifest-summary.json", "manifest-files.json")
_read = TypeDeserializer().deserialize
_log = logging.getLogger(__name__)


def scan(table_name: str, min_records: int, segments: int = SEGMENTS) -> Records:
    """Read the whole table, once, writes of a moment ago included.

    Args:
        table_name: the table, in the region and account of the environment.
        min_records: fewer valid records than this are an error.
        segments: parts of the table that are read at the same time.

    Raises:
        DataError: no table, no permission, no network, no or too few records, too many invalid ones.
    """
    client = _client(segments)
    place = f"DynamoDB table {table_name} in {client.meta.region_name} ({client.meta.endpoint_url})"
    collector = _Collector(place)
    try:
        with ThreadPoolExecutor(segments, thread_name_prefix="scan") as pool:
            parts = [pool.submit(_scan_segment, client, table_name, n, segments, collector) for n in range(segments)]
            for part in parts:
                part.result()
    except (ClientError, BotoCoreError) as error:
        raise DataError(_explain(error, place)) from error
    finally:
        client.close()
    hint = "upload a CSV below uploads/ and let it be ingested first, or name another table in DYNAMODB_TABLE_NAME"
    return collector.records(min_records, hint)


def read_channel(folder: Path, min_records: int) -> Records:
    """Read the `records` channel: `*.jsonl` and `*.json`, gzipped or not, one record a line.

    A record is an object with the attributes of an item, `{"ImageKey": "cat.jpg", …}`, or a line of a DynamoDB export
    to S3, `{"Item": {"ImageKey": {"S": "cat.jpg"}, …}}`.

    Args:
        folder: the channel; files may lie in folders below it.
        min_records: fewer valid records than this are an error.

    Raises:
        DataError: no such file, a damaged one, no or too few records, too many invalid ones.
    """
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES) and path.is_file())
    files = [path for path in files if path.name not in _EXPORT_MANIFESTS]
    if not files:
        raise DataError(f"the records channel has no file that ends in {', '.join(_SUFFIXES)}: {folder}")
    collector = _Collector(f"records channel {folder}")
    for path in files:
        name = str(path.relative_to(folder))
        for number, line in enumerate(_lines(path), 1):
            if line.strip():
                collector.add(line, f"{name} line {number}")
    return collector.records(min_records, "give it JSON lines with ImageKey and ExpectedResult")


class _Collector:
    """Turns items into records and counts those that are none. Many threads may add."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._builder = RecordsBuilder()
        self._lock = threading.Lock()
        self._seen = self._invalid = 0
        self._examples: list[str] = []

    def add(self, item: Mapping[str, Any] | bytes, where: str = "") -> None:
        """Take a typed item of DynamoDB, or a line of JSON."""
        try:
            record, reason = from_item(_parsed(item) if isinstance(item, bytes) else _plain(item)), ""
        except RecordError as error:
            record, reason = None, f"{where}: {error}" if where else str(error)
        with self._lock:
            self._seen += 1
            if record is not None:
                self._builder.add(record)
            else:
                self._invalid += 1
                if len(self._examples) < EXAMPLES:
                    self._examples.append(reason)
            if self._seen % PROGRESS_RECORDS == 0:
                _log.info("read %s records of %s", f"{self._seen:,}", self._place)

    def records(self, min_records: int, hint: str) -> Records:
        """All records, if they are enough; the log says how many."""
        for example in self._examples:
            _log.warning("left out a record of %s: %s", self._place, example)
        if not self._seen:
            raise DataError(f"{self._place} is empty: {hint}")
        if self._invalid > MAX_INVALID_SHARE * self._seen:
            raise DataError(
                f"{self._invalid:,} of {self._seen:,} records of {self._place} are invalid (at most "
                f"{MAX_INVALID_SHARE:.0%} may be): correct or delete them. The first: {self._examples[0]}"
            )
        records = self._builder.build()
        if len(records) < min_records:
            raise DataError(
                f"{self._place} has {len(records):,} records, fewer than the {min_records:,} of the hyperparameter "
                f"min_records: add more, or set min_records to {len(records)} or less"
            )
        counts = f"{len(records):,} records of {len(records.pictures):,} pictures"
        _log.info("read %s from %s, %s left out as invalid", counts, self._place, f"{self._invalid:,}")
        return records


def _client(segments: int) -> DynamoDBClient:
    config = Config(
        retries={"mode": "adaptive", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or 8)},
        max_pool_connections=segments,
        connect_timeout=10,
        read_timeout=30,
    )
    session = boto3.Session()
    region = session.region_name or os.environ.get("AWS_REGION")  # SageMaker sets this one, boto3 reads the other
    try:
        return session.client("dynamodb", region_name=region, config=config)
    except NoRegionError as error:
        raise DataError("no AWS region is set: set AWS_DEFAULT_REGION to the region of the table") from error


def _scan_segment(client: DynamoDBClient, table: str, segment: int, segments: int, collector: _Collector) -> None:
    aliases = {f"#{index}": name for index, name in enumerate(ATTRIBUTES)}  # some are words of DynamoDB's own
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        Segment=segment,
        TotalSegments=segments,
        ConsistentRead=True,
        ProjectionExpression=", ".join(aliases),
        ExpressionAttributeNames=aliases,
    )
    for page in pages:
        for item in page["Items"]:
            collector.add(item)


def _explain(error: ClientError | BotoCoreError, place: str) -> str:
    if isinstance(error, NoCredentialsError):
        return (
            f"no AWS credentials for {place}: give the job a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, NetworkError | HTTPClientError):
        return (
            f"{place} cannot be reached ({error}): a job in a VPC needs a gateway endpoint for DynamoDB, and one with "
            "network isolation cannot scan at all: give it a records channel instead"
        )
    if not isinstance(error, ClientError):
        return f"{place} cannot be read: {error}"
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code == "ResourceNotFoundException":
        return f"{place} does not exist: set DYNAMODB_TABLE_NAME to the table of the records, in the region it is in"
    if code == "AccessDeniedException" or "is not authorized to perform" in message:
        return f"{place} may not be read: allow the job's role dynamodb:Scan on it ({message})"
    if "Token" in code or "Signature" in code or code == "UnrecognizedClientException":
        return f"the AWS credentials for {place} are not accepted: {code} ({message})"
    return f"{place} cannot be read: {code} ({message})"


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item without DynamoDB's types; attributes that nobody reads may be of any kind."""
    try:
        return {name: _read(item[name]) for name in ATTRIBUTES if name in item}
    except (TypeError, AttributeError, ArithmeticError) as error:
        raise RecordError(f"this is no item of DynamoDB ({error})") from error


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"this is no line of JSON ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"this is {type(value).__name__} in JSON: a record is an object")
    item = value.get("Item")
    return _plain(item) if isinstance(item, dict) else value


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
