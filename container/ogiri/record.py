"""One picture–line pair, and how it lies in DynamoDB.

Standard library only: the trainer's image and the Lambda layer carry this same file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_LINE_BYTES = 1024  # DynamoDB's limit for a sort key
MAX_NAME_BYTES = 255  # of a file name on the usual file systems
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NOT_PLAIN = re.compile(r"[/\\\x00-\x1f]")


class RecordError(ValueError):
    """An item or a value that is not a record; the message names the attribute and the value."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label of Rekognition's DetectLabels.

    Attributes:
        name: `Dog`.
        confidence: 0 to 100, or None where it is unknown (a plain list of names).
    """

    name: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A picture and one line for it.

    Attributes:
        image_key: file name of the picture below `images/`.
        line: what somebody wrote for it.
        labels: what is to be seen, best first.
        detected_text: what is written in the picture, empty when nothing is.
        image_url: where the picture came from.
        score: how funny people found the line, None when nobody voted.
    """

    image_key: str
    line: str
    labels: tuple[Label, ...] = ()
    detected_text: str = ""
    image_url: str | None = None
    score: float | None = None


def image_key(url: str) -> str:
    """A plain file name for the picture at `url`, unique per URL: two sites both have an `image.jpg`.

    >>> image_key("https://example.com/cat%20one.jpg?size=2")
    'cat_one-d973a75e7e71.jpg'
    """
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    stem = _UNSAFE.sub("_", stem).strip("._-")[:80] or "image"
    suffix = _UNSAFE.sub("", suffix)[:8].lower()
    return f"{stem}-{digest}.{suffix}" if suffix else f"{stem}-{digest}"


def check_image_key(key: object) -> str:
    """Return `key` if it is a plain file name.

    Raises:
        RecordError: it is empty or too long, has a slash, a backslash or a control character, or is `.` or `..`.
    """
    if not isinstance(key, str) or not key:
        raise RecordError(f"ImageKey is {key!r}: it must be a file name")
    if _utf8_bytes("ImageKey", key) > MAX_NAME_BYTES:
        raise RecordError(f"ImageKey is {key[:40]!r}…: a file name has at most {MAX_NAME_BYTES} bytes")
    if key in (".", "..") or _NOT_PLAIN.search(key):
        raise RecordError(f"ImageKey is {key!r}: it must be a plain file name, without folders")
    return key


def check_line(line: object) -> str:
    """Return `line` if it can be a sort key.

    Raises:
        RecordError: it is blank or longer than 1,024 bytes in UTF-8.
    """
    if not isinstance(line, str) or not line.strip():
        raise RecordError("ExpectedResult is empty: every row needs a line")
    size = _utf8_bytes("ExpectedResult", line)
    if size > MAX_LINE_BYTES:
        raise RecordError(f"ExpectedResult has {size} bytes: DynamoDB takes at most {MAX_LINE_BYTES} in a sort key")
    return line


def to_item(record: Record) -> dict[str, Any]:
    """The item that boto3's Table resource writes (numbers as Decimal)."""
    item: dict[str, Any] = {
        "ImageKey": check_image_key(record.image_key),
        "ExpectedResult": check_line(record.line),
        "Labels": [
            {"Name": label.name}
            if label.confidence is None
            else {"Name": label.name, "Confidence": Decimal(str(round(label.confidence, 4)))}
            for label in record.labels
        ],
    }
    if record.detected_text:
        item["DetectedText"] = record.detected_text
    if record.image_url:
        item["ImageUrl"] = record.image_url
    if record.score is not None:
        item["Score"] = Decimal(str(record.score))
    return item


def from_item(item: Mapping[str, Any]) -> Record:
    """The record in an item as boto3's Table resource reads it, or as a JSON line holds it. Unknown attributes pass.

    Raises:
        RecordError: an attribute is missing or of the wrong kind.
    """
    return Record(
        image_key=check_image_key(item.get("ImageKey")),
        line=check_line(item.get("ExpectedResult")),
        labels=labels_from(item.get("Labels")),
        detected_text=_optional_text("DetectedText", item.get("DetectedText")) or "",
        image_url=_optional_text("ImageUrl", item.get("ImageUrl")),
        score=_float("Score", item.get("Score")),
    )


def labels_from(value: Any) -> tuple[Label, ...]:
    """Labels from a list of `{Name, Confidence}`, a list of strings or a set of strings, best first.

    Raises:
        RecordError: anything else.
    """
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RecordError(f"Labels is {value!r}: it must be a list")
    members = sorted(value) if isinstance(value, set | frozenset) else list(value)
    labels = [_label(member) for member in members]
    return tuple(sorted(labels, key=lambda label: -1.0 if label.confidence is None else -label.confidence))


def _label(member: Any) -> Label:
    name: Any
    if isinstance(member, str):
        name, confidence = member, None
    elif isinstance(member, Mapping):
        name, confidence = member.get("Name"), _float("Confidence", member.get("Confidence"))
    else:
        name, confidence = None, None
    if not isinstance(name, str) or not name.strip():
        raise RecordError(f"Labels has {member!r}: a label is a name, or an object with Name and Confidence")
    if confidence is not None and not 0 <= confidence <= 100:
        raise RecordError(f"Confidence of {name!r} is {confidence:g}: it must be 0 to 100")
    _utf8_bytes("Labels", name)
    return Label(name, confidence)


def _utf8_bytes(name: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:  # half of a surrogate pair, as JSON may spell it
        raise RecordError(f"{name} is {value[:40]!r}: it is no valid Unicode") from error


def _optional_text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RecordError(f"{name} is {value!r}: it must be a string")
    if value:
        _utf8_bytes(name, value)
    return value


def _float(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RecordError(f"{name} is {value!r}: it must be a number")
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond 1.8e308
        number = float("inf")
    if number != number or number in (float("inf"), float("-inf")):
        raise RecordError(f"{name} is {value!r}: it must be a finite number")
    return number
