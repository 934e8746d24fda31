"""A CSV on this machine, read as the ingest will read it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import CommandError
from ogiri_aws.rows import CsvError, RowError, read_rows

_URL = re.compile(r"(https?|s3)://", re.IGNORECASE)


@dataclass
class CheckedFile:
    """What a CSV holds.

    Attributes:
        rows: that can be used.
        pictures: different ones.
        errors: rows that will be left out.
    """

    rows: int = 0
    pictures: set[str] = field(default_factory=set)
    errors: list[RowError] = field(default_factory=list)


def check(path: Path) -> CheckedFile:
    """Read all of it.

    Raises:
        CommandError: it is no CSV that can be ingested, or none of its rows can.
    """
    found = CheckedFile()
    try:
        with path.open("rb") as file:
            for row in read_rows(file):
                if isinstance(row, RowError):
                    found.errors.append(row)
                elif not _URL.match(row.image_url):
                    found.errors.append(RowError(row.line_number, _no_url(row.image_url)))
                else:
                    found.rows += 1
                    found.pictures.add(row.image_url)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except CsvError as error:
        raise CommandError(f"{path}: {error}") from error
    if not found.rows:
        reasons = "; ".join(map(str, found.errors[:3])) or "it has no rows: a header alone, or nothing"
        raise CommandError(f"{path}: no row can be used: {reasons}")
    return found


def _no_url(name: str) -> str:
    return f"image_url is {name!r}: nobody but this machine has it. Put it into S3 and write s3://BUCKET/KEY"
