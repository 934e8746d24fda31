"""A batch of the Distributed Map → what became of it, in the form in which its rest can come again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ogiri_aws import forgotten
from ogiri_aws.clients import Clients
from ogiri_aws.ingest import Destination, Report, ingest
from ogiri_aws.prepare import errors_json, folder, item_from
from ogiri_aws.rekognition import Detection
from ogiri_aws.settings import IngestSettings

COUNTS = ("rows", "pictures", "written", "skipped", "analysed")


class BatchError(Exception):
    """A batch that cannot be worked with, or that does not get on; the message says the way out."""


def ingest_batch(
    clients: Clients, settings: IngestSettings, event: Mapping[str, Any], seconds_left: Callable[[], float]
) -> tuple[dict[str, Any], Report]:
    """Ingest `{"Items": [item, …], "BatchInput": {"execution", …}}`.

    Rows that failed for good are written to `ingest/EXECUTION/errors/`. The answer is an event of the same form with
    the items that were not finished, so the state machine sends it again as long as `unfinished` is not 0; its
    `report` counts everything since the first event, `failed` being the rows left out.

    Raises:
        BatchError: the event is no batch, or not one item gets finished in the time given, however often.
        IngestError: what would fail for every picture.
    """
    batch, items = _batch(event)
    attempt = int(batch.get("attempt", 1))
    last = attempt >= settings.ingest_attempts
    whole = [item_from(clients.s3, settings.bucket, item) for item in items]
    kept, gone = forgotten.read(clients.s3, settings.bucket).split(whole)
    report = ingest(
        kept,
        Destination(settings.bucket, settings.dynamodb_table_name, settings.images_prefix),
        detection=Detection(
            settings.rekognition_min_confidence,
            settings.rekognition_max_labels,
            settings.rekognition_text,
            settings.rekognition_moderation_confidence,
        ),
        threads=settings.ingest_threads,
        clients=clients,
        seconds_left=seconds_left,
        postpone=not last,
    )
    got_on = len(report.unfinished) < len(kept) or not kept
    if last and not got_on:
        raise BatchError(f"none of {len(kept)} items was finished in time: smaller batches or a longer timeout do it")
    keys = {item.image_key for item in report.unfinished}
    # A picture that comes again brings its lines that were taken down again: they count once it is finished.
    left_out = [error for key, errors in gone.items() if key not in keys for error in errors]
    report = Report.total([report, Report(len(left_out), errors=left_out)])
    answer = {
        "Items": [item for item in items if item["image_key"] in keys],
        "BatchInput": {**batch, "attempt": 1 if got_on else attempt + 1},
        "unfinished": len(keys),
        "report": _added(event.get("report", {}), report),
        "errors_key": _stored_errors(clients, settings.bucket, batch["execution"], items, report),
    }
    return answer, report


def _batch(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    batch, items = event.get("BatchInput"), event.get("Items")
    if not isinstance(batch, Mapping) or "execution" not in batch or not isinstance(items, list):
        raise BatchError(
            f"the event has {', '.join(event) or 'nothing'}: it must be a batch of the map, "
            '{"Items": [item, …], "BatchInput": {"execution": "…"}}'
        )
    return batch, items


def _added(before: Mapping[str, int], report: Report) -> dict[str, int]:
    now = {name: getattr(report, name) for name in COUNTS} | {"failed": len(report.errors)}
    return {name: before.get(name, 0) + count for name, count in now.items()}


def _stored_errors(
    clients: Clients, bucket: str, execution: str, items: list[Mapping[str, Any]], report: Report
) -> str | None:
    """A file a batch; the same batch writes the same one again."""
    if not report.errors:
        return None
    digest = hashlib.sha256("\n".join(item["image_key"] for item in items).encode()).hexdigest()[:16]
    key = f"{folder(execution)}/errors/{digest}.jsonl"
    clients.s3.put_object(Bucket=bucket, Key=key, Body=errors_json(report.errors), ContentType="application/jsonl")
    return key
