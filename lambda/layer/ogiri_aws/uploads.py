"""What tells of an uploaded CSV → its place in S3.

The key is percent-encoded in one kind of event and not in the other:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html (EventBridge: as it is) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (notification: encoded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

_WAYS = '{"bucket": "…", "key": "…"} starts it by hand'


class UploadError(ValueError):
    """An event or a file that cannot be worked with; the message names it and the way out."""


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        bucket: where it lies.
        key: as it is in S3, nothing encoded.
        version: what tells it from another upload of the same key (version ID, or the event's sequencer); empty for a
            start by hand.
        version_id: of a bucket with versions, else empty: the file may be read as it was uploaded.
    """

    bucket: str
    key: str
    version: str = ""
    version_id: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def upload_from(event: Mapping[str, Any]) -> Upload:
    """The upload that an event tells of: EventBridge's "Object Created", S3's own notification, or a start by hand.

    Raises:
        UploadError: it tells of none.
    """
    if not isinstance(event, Mapping):
        raise UploadError(f"the event is {event!r}: {_WAYS}")
    if isinstance(event.get("detail"), Mapping):
        return _from_eventbridge(event)
    if "Records" in event:
        return _from_notification(event["Records"])
    known = (str(event.get(name) or "") for name in ("version", "version_id"))  # as `prepare` hands it on
    return Upload(_text(event, "bucket"), _text(event, "key"), *known)


def _from_eventbridge(event: Mapping[str, Any]) -> Upload:
    if event.get("detail-type") != "Object Created":
        raise UploadError(f'the event is {event.get("detail-type")!r}: only "Object Created" starts training; {_WAYS}')
    detail = event["detail"]
    entry = _part(detail, "object")
    return _versioned(
        _text(_part(detail, "bucket"), "name"), _text(entry, "key"), entry.get("version-id"), entry.get("sequencer")
    )


def _from_notification(records: Any) -> Upload:
    if not isinstance(records, list) or len(records) != 1 or not isinstance(records[0], Mapping):
        raise UploadError(f"the event's Records is {records!r}: it must have one record; {_WAYS}")
    s3 = _part(records[0], "s3")
    entry = _part(s3, "object")
    key = unquote_plus(_text(entry, "key"))
    return _versioned(_text(_part(s3, "bucket"), "name"), key, entry.get("versionId"), entry.get("sequencer"))


def _versioned(bucket: str, key: str, version_id: Any, sequencer: Any) -> Upload:
    known = str(version_id) if version_id and version_id != "null" else ""
    return Upload(bucket, key, known or str(sequencer or ""), known)


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = value.get(name)
    if not isinstance(part, Mapping):
        raise UploadError(f"the event has no {name}: {_WAYS}")
    return part


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise UploadError(f"{name} is {text!r} in the event: it must be a string; {_WAYS}")
    return text
