"""What was taken down and must not come back, whoever uploads it again: an object in the bucket for each.

Names only, and of these the SHA-256: the list does not keep what somebody wanted gone. `prepare` and `ingest` leave out
what it names; deleting an object from `forgotten/` lets its picture or line in again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ogiri_aws.items import PictureItem
from ogiri_aws.rows import RowError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FOLDER = "forgotten/"


def picture_name(image_key: str) -> str:
    """The name of a picture in the list."""
    return _digest("picture", image_key)


def line_name(line: str, image_key: str = "") -> str:
    """The name of a line in the list: with one picture, or with every picture when `image_key` is empty."""
    return _digest("line", image_key, line)


@dataclass(frozen=True)
class Forgotten:
    """The list.

    Attributes:
        names: of `picture_name` and `line_name`.
    """

    names: frozenset[str]

    def entry(self, image_key: str, line: str) -> str | None:
        """The name that keeps a row out; None lets it in."""
        candidates = (picture_name(image_key), line_name(line, image_key), line_name(line))
        return next((name for name in candidates if name in self.names), None)

    def split(self, items: Sequence[PictureItem]) -> tuple[list[PictureItem], dict[str, list[RowError]]]:
        """The items with the lines that may be ingested, and by image key the rows that were left out of them."""
        kept: list[PictureItem] = []
        errors: dict[str, list[RowError]] = {}
        for item in items:
            lines = tuple(line for line in item.lines if self.entry(item.image_key, line.line) is None)
            if lines:
                kept.append(replace(item, lines=lines))
            for line in item.lines:
                entry = self.entry(item.image_key, line.line)
                if entry is not None:
                    errors.setdefault(item.image_key, []).append(left_out(line.line_number, entry))
        return kept, errors


def read(s3: S3Client, bucket: str) -> Forgotten:
    """The list as it is now; needs s3:ListBucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=FOLDER)
    keys = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
    return Forgotten(frozenset(key.removeprefix(FOLDER) for key in keys))


def remember(s3: S3Client, bucket: str, names: Iterable[str]) -> None:
    """Put names on the list; those that are on it stay."""
    for name in names:
        s3.put_object(Bucket=bucket, Key=FOLDER + name, Body=b"")


def left_out(line_number: int, name: str) -> RowError:
    """Why a row is left out, without saying again what it was."""
    return RowError(line_number, f"it was taken down: deleting {FOLDER}{name} from the bucket lets it in again")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
