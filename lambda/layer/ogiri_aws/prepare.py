"""A CSV in S3 → `ingest/EXECUTION/items.json`, one item a picture, read by the Distributed Map."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from ogiri.record import image_key
from ogiri_aws import forgotten
from ogiri_aws.forgotten import Forgotten
from ogiri_aws.grouping import Counts, Grouping
from ogiri_aws.items import PictureItem
from ogiri_aws.rows import CsvError, Row, RowError, read_rows
from ogiri_aws.uploads import Upload, UploadError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FOLDER = "ingest"
MAX_ITEM_BYTES = 64 * 1024  # a batch of items must fit into 256 KiB; a picture with more lines keeps them beside
SHOWN_ERRORS = 3

_EXECUTION = re.compile(r"[A-Za-z0-9._-]{1,80}")


@dataclass(frozen=True)
class Prepared:
    """What became of a CSV; `rows` = `lines` + `duplicates` + `rejected`.

    Attributes:
        execution: name of the state machine's execution.
        upload: the CSV.
        bucket, key: of items.json.
        rows: how many there were, blank ones and the header not counted.
        pictures: items.
        lines: to be written.
        duplicates: rows that repeat an earlier one.
        rejected: rows that cannot be used, or that were taken down.
        errors_key: JSON lines with their line numbers and reasons; None when there are none.
    """

    execution: str
    upload: Upload
    bucket: str
    key: str
    rows: int
    pictures: int
    lines: int
    duplicates: int
    rejected: int
    errors_key: str | None

    def to_json(self) -> dict[str, Any]:
        """What the state machine hands on."""
        return asdict(self)


def folder(execution: str) -> str:
    """Where the files of an execution lie, without the last slash.

    Raises:
        UploadError: it is no execution's name.
    """
    if not isinstance(execution, str) or not _EXECUTION.fullmatch(execution) or set(execution) == {"."}:
        raise UploadError(f"execution is {execution!r}: it must be the name of an execution, $$.Execution.Name")
    return f"{FOLDER}/{execution}"


def errors_json(errors: Iterable[RowError]) -> bytes:
    """A report of rows that were left out, one JSON object a line."""
    return "".join(json.dumps(asdict(error), ensure_ascii=False) + "\n" for error in errors).encode()


def prepare(s3: S3Client, upload: Upload, bucket: str, execution: str) -> Prepared:
    """Read the CSV once, group its rows on disk and write the items. Memory does not grow with the file, /tmp does.

    Raises:
        UploadError: there is no such file, it is empty, or none of its rows can be used.
        CsvError: it cannot be read as a whole.
    """
    place = folder(execution)
    with tempfile.TemporaryDirectory(prefix="prepare-") as name:
        disk = Path(name)
        with (
            closing(Grouping(disk / "rows.sqlite")) as grouping,
            _opened(s3, upload) as body,
            (disk / "errors.jsonl").open("w+b") as errors,
        ):
            gone = forgotten.read(s3, bucket)
            rejected, shown = _group(body, upload, grouping, errors, gone)
            errors_key = _stored_errors(s3, errors, bucket, f"{place}/errors/prepare.jsonl") if rejected else None
            _check(upload, grouping.counts, rejected, shown)
            with (disk / "items.json").open("w+b") as items:
                _write(grouping.items(), items, s3, bucket, place)
                items.seek(0)
                s3.upload_fileobj(items, bucket, f"{place}/items.json", {"ContentType": "application/json"})
            counts = grouping.counts
    rows = counts.lines + counts.duplicates + rejected
    return Prepared(
        execution,
        upload,
        bucket,
        f"{place}/items.json",
        rows,
        **asdict(counts),
        rejected=rejected,
        errors_key=errors_key,
    )


def item_from(s3: S3Client, bucket: str, value: Mapping[str, Any]) -> PictureItem:
    """An item of items.json, its lines fetched where they lie beside."""
    if "lines_at" in value:
        with s3.get_object(Bucket=bucket, Key=value["lines_at"])["Body"] as body:
            value = {**value, "lines": json.load(body)}
    return PictureItem.from_json(value)


def _opened(s3: S3Client, upload: Upload) -> Any:
    version: Any = {"VersionId": upload.version_id} if upload.version_id else {}
    try:
        answer = s3.get_object(Bucket=upload.bucket, Key=upload.key, **version)
    except ClientError as error:
        code = error.response["Error"].get("Code")
        hint = ""
        if code == "NoSuchKey" and unquote_plus(upload.key) != upload.key:
            hint = f"; keys are taken as they are: is {unquote_plus(upload.key)!r} meant?"
        raise UploadError(f"{upload} cannot be read: S3 answered {code}{hint}") from error
    if not answer["ContentLength"]:
        raise UploadError(f"{upload} is empty: a CSV of image_url,expected_result is expected")
    return answer["Body"]


def _group(
    body: Any, upload: Upload, grouping: Grouping, errors: IO[bytes], gone: Forgotten
) -> tuple[int, list[RowError]]:
    """Fill `grouping`; returns how many rows are rejected, and the first of them."""
    rejected, shown = 0, list[RowError]()
    try:
        for row in (_unless_gone(row, gone) for row in read_rows(cast(BinaryIO, body))):
            if isinstance(row, Row):
                grouping.add(row)
                continue
            rejected += 1
            errors.write(errors_json([row]))
            if len(shown) < SHOWN_ERRORS:
                shown.append(row)
    except CsvError as error:
        raise CsvError(f"{upload}: {error}") from error
    return rejected, shown


def _unless_gone(row: Row | RowError, gone: Forgotten) -> Row | RowError:
    if isinstance(row, RowError) or not gone.names:  # a key is a hash: a million of them take their time
        return row
    name = gone.entry(image_key(row.image_url), row.line)
    return row if name is None else forgotten.left_out(row.line_number, name)


def _check(upload: Upload, counts: Counts, rejected: int, shown: list[RowError]) -> None:
    if counts.lines:
        return
    if not rejected:
        raise UploadError(f"{upload} has no rows: a header alone, or blank lines")
    reasons = "; ".join(map(str, shown))
    raise UploadError(f"{upload}: none of its {rejected:,} rows can be used: {reasons}")


def _stored_errors(s3: S3Client, errors: IO[bytes], bucket: str, key: str) -> str:
    errors.seek(0)
    s3.upload_fileobj(errors, bucket, key, {"ContentType": "application/jsonl"})
    return key


def _write(items: Iterator[PictureItem], file: IO[bytes], s3: S3Client, bucket: str, place: str) -> None:
    """A JSON array, an item a line."""
    separator = b"[\n"
    for item in items:
        value = item.to_json()
        data = json.dumps(value, ensure_ascii=False).encode()
        if len(data) > MAX_ITEM_BYTES:
            value["lines_at"] = f"{place}/lines/{item.image_key}.json"
            lines = json.dumps(value.pop("lines"), ensure_ascii=False).encode()
            s3.put_object(Bucket=bucket, Key=value["lines_at"], Body=lines, ContentType="application/json")
            data = json.dumps(value, ensure_ascii=False).encode()
        file.write(separator + data)
        separator = b",\n"
    file.write(b"\n]\n")
