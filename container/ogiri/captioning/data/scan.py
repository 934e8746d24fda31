"""The training data as it lies in AWS → records: from the table, or from the files of the `records` channel."""

from __future__ import annotations

import gc
import gzip
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as NetworkError

from ogiri.captioning.data.collector import Collector
from ogiri.captioning.data.records import DataError, Records
from ogiri.captioning.data.table import PATIENCE_SECONDS, Table

SEGMENTS = 4

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_EXPORT_MANIFESTS = ("manifest-summary.json", "manifest-files.json")


def scan(
    table_name: str, min_records: int, segments: int = SEGMENTS, patience_seconds: float = PATIENCE_SECONDS
) -> Records:
    """Read the whole table, once, writes of a moment ago included.

    A table that throttles or does not answer now and then is read all the same, every record once.

    Args:
        table_name: the table, in the region and account of the environment.
        min_records: fewer valid records than this are an error.
        segments: parts of the table that are read at the same time.
        patience_seconds: how long to wait for a page of a table that answered before.

    Raises:
        DataError: no table, no permission, no network, no or too few records, too many invalid ones.
    """
    table = Table(table_name, segments, patience_seconds)
    collector = Collector(table.place)

    def read(segment: int) -> None:
        try:
            for page in table.pages(segment):
                collector.add_page(page)
        except BaseException:
            table.give_up()
            raise

    try:
        with _without_collection(), ThreadPoolExecutor(segments, thread_name_prefix="scan") as pool:
            for part in [pool.submit(read, segment) for segment in range(segments)]:
                part.result()
    except (ClientError, BotoCoreError) as error:
        raise DataError(_explain(error, table.place)) from error
    finally:
        table.close()
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
    collector = Collector(f"records channel {folder}")
    with _without_collection():
        for path in files:
            collector.add_lines(_lines(path), str(path.relative_to(folder)))
    return collector.records(min_records, "give it JSON lines with ImageKey and ExpectedResult")


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without the search for cycles: JSON has none, and looking for them takes longer than reading it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
