"""A CSV that names pictures by path → a CSV that names them in S3, as an upload must.

A stack reaches the web and S3, and no folder of this machine.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ogiri_aws.pictures import PictureError, local_file
from ogiri_aws.rows import Row, RowError, read_rows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

THREADS = 8
HEADER = ("image_url", "expected_result", "score", "labels")


@dataclass
class Rewritten:
    """What to upload.

    Attributes:
        csv: the file.
        pictures: paths in the folder.
        lines: line of `csv` → line of the file that it was made from.
        rows: how many rows `csv` has.
        urls: different pictures in them.
        errors: rows that cannot be used, and so are not in `csv`.
    """

    csv: bytes = b""
    pictures: list[str] = field(default_factory=list)
    lines: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    urls: set[str] = field(default_factory=set)
    errors: list[RowError] = field(default_factory=list)


def rewritten(path: Path, folder: Path | None, place: str) -> Rewritten:
    """Read a CSV as the ingest does.

    Args:
        path: of the CSV.
        folder: of the pictures that it names by path; None refuses such rows.
        place: where they will be, `s3://BUCKET/pictures/`.

    Raises:
        CsvError: it cannot be read as a whole.
    """
    found = Rewritten()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    number = 2
    paths: dict[str, str | None] = {}  # of a picture → why it cannot be used
    with path.open("rb") as file:
        for row in read_rows(file):
            reason = None if isinstance(row, RowError) else _reason(row.image_url, folder, paths)
            if isinstance(row, RowError):
                found.errors.append(row)
            elif reason is not None:
                found.errors.append(RowError(row.line_number, reason))
            else:
                url = row.image_url if ":" in row.image_url else place + row.image_url.lstrip("/")
                writer.writerow(_cells(row, url))
                found.lines[number] = row.line_number
                found.rows += 1
                found.urls.add(url)
                number += 1 + row.line.count("\n")
    found.csv = text.getvalue().encode()
    found.pictures = [name for name, reason in paths.items() if reason is None]
    return found


def put_pictures(
    s3: S3Client,
    bucket: str,
    prefix: str,
    folder: Path,
    names: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Upload pictures of a folder; raises botocore's errors."""

    def put(name: str) -> None:
        s3.upload_file(str(folder / name.lstrip("/")), bucket, prefix + name.lstrip("/"))

    with ThreadPoolExecutor(THREADS) as pool:
        for done, _ in enumerate(pool.map(put, names), start=1):
            if progress is not None:
                progress(done, len(names))


def _reason(url: str, folder: Path | None, paths: dict[str, str | None]) -> str | None:
    """Why a picture cannot be used, None for one that can and for what the ingest itself will fetch."""
    if ":" in url:
        return None
    if url not in paths:
        paths[url] = _problem(url, folder)
    return paths[url]


def _problem(name: str, folder: Path | None) -> str | None:
    try:
        local_file(name, folder)
    except PictureError as error:
        return str(error)
    return None


def _cells(row: Row, url: str) -> tuple[str, str, str, str]:
    return url, row.line, "" if row.score is None else str(row.score), "/".join(row.labels)
