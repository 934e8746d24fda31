"""Items → pictures in S3 and records in the table. Doing it again changes nothing, and asks Rekognition nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from ogiri.record import Label, Record, RecordError
from ogiri_aws import failures, table
from ogiri_aws.clients import Clients, connect
from ogiri_aws.items import PictureItem, PictureLine
from ogiri_aws.pictures import Limits, PictureError, PictureSource, media_type
from ogiri_aws.rekognition import Detection, analyse
from ogiri_aws.rows import RowError

THREADS = 16
START_SECONDS = 45.0  # that must be left for a picture to be begun
STOP_SECONDS = 15.0  # that are left to the caller when pictures under way are given up

_COUNTS = ("rows", "pictures", "written", "skipped", "analysed")
_ROW_ERRORS = (PictureError, RecordError, ClientError, BotoCoreError)


class IngestError(Exception):
    """Nothing can be ingested: no bucket, no table, no permission, no network. The message says which."""


@dataclass(frozen=True)
class Destination:
    """Where pictures and records go.

    Attributes:
        bucket: for the pictures.
        table: name of the DynamoDB table.
        prefix: folder of the pictures in the bucket, with its slash.
    """

    bucket: str
    table: str
    prefix: str = "images/"


@dataclass(frozen=True)
class Report:
    """What happened; `rows` = `written` + `skipped` + the number of `errors`.

    Attributes:
        rows: lines that were to be written.
        pictures: items.
        written: new records.
        skipped: records that were there already.
        analysed: pictures that Rekognition was asked about.
        errors: rows left out, by line of the CSV.
        unfinished: items to be ingested again, which count nowhere else; see `seconds_left` and `postpone` of `ingest`.
    """

    rows: int = 0
    pictures: int = 0
    written: int = 0
    skipped: int = 0
    analysed: int = 0
    errors: list[RowError] = field(default_factory=list)
    unfinished: list[PictureItem] = field(default_factory=list)

    @classmethod
    def total(cls, reports: Iterable[Report]) -> Report:
        """All of them as one."""
        parts = list(reports)
        counts = {name: sum(getattr(part, name) for part in parts) for name in _COUNTS}
        errors = sorted((error for part in parts for error in part.errors), key=attrgetter("line"))
        return cls(**counts, errors=errors, unfinished=[item for part in parts for item in part.unfinished])

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        return asdict(self)


def ingest(
    items: Sequence[PictureItem],
    destination: Destination,
    *,
    folder: Path | None = None,
    detection: Detection | None = None,
    limits: Limits | None = None,
    threads: int = THREADS,
    progress: Callable[[int, int], None] | None = None,
    clients: Clients | None = None,
    seconds_left: Callable[[], float] | None = None,
    postpone: bool = False,
) -> Report:
    """Store the pictures of `items`, analyse each once, and write a record for each of their lines.

    A picture that is in the bucket is not fetched again; one that any record has labels for, or that brings labels from
    its CSV, is not analysed; a record that exists stays as it is. A picture or line that fails is reported with the
    lines of its rows, and the rest goes on.

    Args:
        items: one for each picture.
        destination: bucket and table.
        folder: where URLs that are paths are looked up; None refuses them.
        detection: what Rekognition is asked.
        limits: what is too slow or too large a picture.
        threads: pictures at a time.
        progress: called with (pictures done, pictures in all) from this thread.
        clients: kept open by the caller, for a Lambda that is called again; made here otherwise.
        seconds_left: until this process is ended; pictures that it leaves no time for come back unfinished. None has no
            end.
        postpone: let pictures of which a service is too busy come back unfinished, instead of reporting their rows.

    Raises:
        IngestError: what would fail for every picture.
    """
    with ExitStack() as stack:
        if clients is None:
            clients = _connect(threads)
            stack.callback(clients.close)
        source = PictureSource(clients.s3, clients.http, folder, limits or Limits())
        job = _Job(clients, source, destination, detection or Detection(), seconds_left, postpone)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="ingest")
        stack.callback(pool.shutdown, wait=seconds_left is None, cancel_futures=True)
        futures = {pool.submit(job.ingest, item): item for item in items}
        return Report.total(_results(futures, progress, seconds_left))


def _results(
    futures: Mapping[Future[Report], PictureItem],
    progress: Callable[[int, int], None] | None,
    seconds_left: Callable[[], float] | None,
) -> list[Report]:
    reports = []
    pending = dict(futures)
    timeout = None if seconds_left is None else max(0.0, seconds_left() - STOP_SECONDS)
    try:
        for done, future in enumerate(as_completed(futures, timeout), 1):
            reports.append(future.result())
            del pending[future]
            if progress is not None:
                progress(done, len(futures))
    except TimeoutError:  # what a thread still writes is written once all the same
        reports += [Report(unfinished=[item]) for item in pending.values()]
    return reports


def _connect(threads: int) -> Clients:
    try:
        return connect(threads)
    except NoRegionError as error:
        raise IngestError("no AWS region is set: set AWS_DEFAULT_REGION") from error


@dataclass(frozen=True)
class _Job:
    clients: Clients
    source: PictureSource
    destination: Destination
    detection: Detection
    seconds_left: Callable[[], float] | None
    postpone: bool

    def ingest(self, item: PictureItem) -> Report:
        """Store one picture, analyse it if nobody has, and write its new lines."""
        if self.seconds_left is not None and self.seconds_left() < START_SECONDS:
            return Report(unfinished=[item])
        try:
            known = table.known(self.clients.dynamodb, self.destination.table, item.image_key)
            data = self._store(item)
            new = [line for line in item.lines if line.line not in known.lines]
            analysis = known.analysis or _from_csv(item)
            analysed = bool(new) and analysis is None
            if analysed:
                analysis = self._analyse(item, data)
        except _ROW_ERRORS as error:
            if self._waits(error):
                return Report(unfinished=[item])
            errors = self._errors(item.lines, error)
            return Report(len(item.lines), 1, errors=errors)
        labels, text = analysis or ((), "")
        return self._write(item, new, labels, text, analysed)

    def _store(self, item: PictureItem) -> bytes | None:
        """Put the picture into the bucket and return it; None if it is there already."""
        stored = self._stored_bytes(item)
        if stored is not None:
            here = self.source.local_bytes(item.image_url)
            if here is not None and here != stored:  # a path is no URL: two folders may both have an image.jpg
                raise PictureError(
                    f"{item.image_url} has {here:,} bytes, but {self._key(item)} in the bucket, stored under the same "
                    f"name before, has {stored:,}: rename the file"
                )
            return None
        data = self.source.fetch(item.image_url)
        self.clients.s3.put_object(
            Bucket=self.destination.bucket, Key=self._key(item), Body=data, ContentType=_media_type(item, data)
        )
        return data

    def _stored_bytes(self, item: PictureItem) -> int | None:
        try:
            head = self.clients.s3.head_object(Bucket=self.destination.bucket, Key=self._key(item))
        except ClientError as error:
            # Without s3:ListBucket a missing object is a 403. Should it be a real one, the write after it says so.
            if error.response["Error"].get("Code") in ("404", "NoSuchKey", "403"):
                return None
            raise
        return head["ContentLength"]

    def _analyse(self, item: PictureItem, data: bytes | None) -> tuple[tuple[Label, ...], str]:
        if data is None:
            data = self.source.fetch(f"s3://{self.destination.bucket}/{self._key(item)}")
        try:
            return analyse(self.clients.rekognition, data, self.detection)
        except PictureError as error:
            raise PictureError(f"{item.image_url}: {error}") from error

    def _write(
        self, item: PictureItem, lines: Sequence[PictureLine], labels: tuple[Label, ...], text: str, analysed: bool
    ) -> Report:
        written = 0
        errors: list[RowError] = []
        for line in lines:
            record = Record(item.image_key, line.line, labels, text, item.image_url, line.score)
            try:
                written += table.put(self.clients.dynamodb, self.destination.table, record)
            except _ROW_ERRORS as error:
                if self._waits(error):  # lines that were written are skipped the next time
                    return Report(unfinished=[item])
                errors += self._errors([line], error)
        rows = len(item.lines)
        return Report(rows, 1, written, rows - written - len(errors), int(analysed), errors)

    def _key(self, item: PictureItem) -> str:
        return self.destination.prefix + item.image_key

    def _errors(self, lines: Iterable[PictureLine], error: Exception) -> list[RowError]:
        """A row error for each line.

        Raises:
            IngestError: every other picture would fail in the same way.
        """
        reason = failures.reason(error)
        if failures.is_fatal(error):
            raise IngestError(f"{reason}; the destination is {self.destination}") from error
        return [RowError(line.line_number, reason) for line in lines]

    def _waits(self, error: Exception) -> bool:
        return self.postpone and failures.is_busy(error)


def _from_csv(item: PictureItem) -> tuple[tuple[Label, ...], str] | None:
    return (tuple(Label(name) for name in item.labels), "") if item.labels else None


def _media_type(item: PictureItem, data: bytes) -> str:
    try:
        return media_type(data)
    except PictureError as error:
        raise PictureError(f"{item.image_url}: {error}") from error
