"""CSV → rows, as people really write them: with and without a header, in UTF-8 and in Excel's Shift_JIS."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from ogiri.record import RecordError, check_line

MAX_FIELD_CHARACTERS = 1024 * 1024  # of columns that are not read; a line is far shorter
MAX_SPOOLED_BYTES = 32 * 1024 * 1024  # of a stream kept in memory; the rest goes to a temporary file
MAX_SCORE = 1e12

# Names are compared in lower case without spaces and underscores: `Image URL` is image_url. The second of each pair is
# ボケ缶's. Its rate_sum counts every star, and its own classes (blue to sp) are ranges of it; rate_count counts voters
# and is said to be inexact.
_COLUMNS = {
    "image_url": ("imageurl", "odaiphotourl"),
    "expected_result": ("expectedresult", "text"),
    "score": ("score", "ratesum"),
    "labels": ("labels",),
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_FILE_NAME = re.compile(r"\.[A-Za-z0-9]{2,5}$")
_QUOTES = "a line with a comma needs quotes around it"


class CsvError(ValueError):
    """A file that cannot be read as a whole; the message names the line and the way out."""


class _BadRow(ValueError):
    """Why a row cannot be taken."""


@dataclass(frozen=True, slots=True)
class Row:
    """One picture and one line for it.

    Attributes:
        line_number: physical line of the file where the row starts, from 1.
        image_url: `https://…`, `http://…`, `s3://bucket/key`, or a path below a folder that the reader knows.
        line: what somebody wrote; line breaks in it are line feeds.
        score: how funny people found it, None when the file does not say.
        labels: names of what is to be seen, when the file says so.
    """

    line_number: int
    image_url: str
    line: str
    score: float | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that was left out.

    Attributes:
        line: physical line of the file where the row starts, from 1.
        reason: what is wrong with it.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class _Layout:
    """Where the columns are; `count` is how many a row may have."""

    url: int
    line: int
    score: int | None
    labels: int | None
    count: int


_WITHOUT_HEADER = _Layout(url=0, line=1, score=2, labels=None, count=3)


def read_rows(file: BinaryIO) -> Iterator[Row | RowError]:
    """Read the rows of a CSV: `image_url,expected_result[,score]`, or by header name, or those of ボケ缶.

    The encoding is found by reading the file once before: UTF-8 (with a byte order mark or without), else Shift_JIS as
    Excel writes it (cp932). A stream that cannot be rewound is spooled, to disk when it is large. Blank rows are passed
    over; a bad row is yielded as `RowError` and the rest goes on.

    Raises:
        CsvError: the file is in neither encoding, is no text, or its header names a picture column but no line column.
    """
    with _rewindable(file) as source:
        start = source.tell()
        encoding = _encoding(source)
        source.seek(start)
        text = io.TextIOWrapper(source, encoding, newline="")
        try:
            yield from _rows(text)
        finally:
            text.detach()  # else it would close the caller's file


def check_url(url: str) -> str:
    """Return `url` if a picture can be read from there.

    Raises:
        ValueError: it is empty, has a control character or a scheme other than https, http and s3, or names no place.
    """
    if not url:
        raise _BadRow("image_url is empty: every row needs a picture")
    if any(ord(character) < 32 for character in url):
        raise _BadRow(f"image_url is {url[:80]!r}: it must not have control characters (is a quote not closed?)")
    scheme = _SCHEME.match(url)
    if scheme is None:
        return url
    name = scheme[1].lower()
    if name not in ("http", "https", "s3"):
        raise _BadRow(f"image_url is {url!r}: it must start with https://, http:// or s3://, or be a path in a folder")
    try:
        place = urlsplit(url)
        complete = bool(place.hostname) and (name != "s3" or len(place.path) > 1)
    except ValueError as error:
        raise _BadRow(f"image_url is {url!r}: {error}") from error
    if not complete:
        raise _BadRow(f"image_url is {url!r}: it names no {'bucket and key' if name == 's3' else 'host'}")
    return url


def _rows(text: io.TextIOWrapper) -> Iterator[Row | RowError]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))
    reader = csv.reader(text, skipinitialspace=True)
    layout = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowError(start, f"{error}{_span(start, reader.line_num)}")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if layout is None:
            layout = _header(cells, start)
            if layout is not None:
                continue
            layout = _WITHOUT_HEADER
            if not _looks_like_picture(cells[0].strip()):
                names = " or ".join(_COLUMNS["image_url"])
                yield RowError(start, f"{cells[0][:80]!r} is no picture's URL, and no header names a column {names}")
                continue
        try:
            yield _row(cells, layout, start)
        except (_BadRow, RecordError) as error:
            yield RowError(start, f"{error}{_span(start, reader.line_num)}")


def _header(cells: Sequence[str], line_number: int) -> _Layout | None:
    names = [re.sub(r"[\s_]", "", cell).lower() for cell in cells]
    found = {column: _index(names, known) for column, known in _COLUMNS.items()}
    url, line = found["image_url"], found["expected_result"]
    if url is None:
        return None
    if line is None:
        raise CsvError(
            f"line {line_number}: the header names {cells[url].strip()}, but no expected_result (or text) column: "
            f"it has {', '.join(cell.strip() for cell in cells)}"
        )
    return _Layout(url, line, found["score"], found["labels"], len(cells))


def _index(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _looks_like_picture(cell: str) -> bool:
    return "/" in cell or _FILE_NAME.search(cell) is not None


def _row(cells: Sequence[str], layout: _Layout, line_number: int) -> Row:
    if any(cell.strip() for cell in cells[layout.count :]):
        raise _BadRow(f"it has {len(cells)} columns instead of {layout.count}: {_QUOTES}")
    if len(cells) <= max(layout.url, layout.line):
        needed = max(layout.url, layout.line) + 1
        raise _BadRow(f"it has {len(cells)} of {needed} columns: a picture and a line are needed")
    return Row(
        line_number,
        check_url(cells[layout.url].strip()),
        check_line(_unbroken(cells[layout.line]).strip()),
        _score(_optional(cells, layout.score)),
        _labels(_optional(cells, layout.labels)),
    )


def _optional(cells: Sequence[str], index: int | None) -> str:
    return cells[index].strip() if index is not None and index < len(cells) else ""


def _unbroken(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _score(cell: str) -> float | None:
    if not cell:
        return None
    try:
        score = float(cell)
    except ValueError as error:
        raise _BadRow(f"score is {cell[:80]!r}: it must be a number ({_QUOTES})") from error
    if not math.isfinite(score) or abs(score) > MAX_SCORE:
        raise _BadRow(f"score is {cell[:80]!r}: it must be a number of at most {MAX_SCORE:g}")
    return round(score, 6)


def _labels(cell: str) -> tuple[str, ...]:
    names = (name.strip() for name in cell.split("/"))
    return tuple(dict.fromkeys(name for name in names if name))


def _span(start: int, end: int) -> str:
    return f" (the row goes on to line {end}: is a quote not closed?)" if end > start else ""


@contextmanager
def _rewindable(file: BinaryIO) -> Iterator[BinaryIO]:
    if file.seekable():
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=MAX_SPOOLED_BYTES) as spool:
        shutil.copyfileobj(file, spool, 1024 * 1024)
        spool.seek(0)
        yield spool  # type: ignore[misc]  # a BinaryIO in all but name


def _encoding(file: BinaryIO) -> str:
    """The codec of the whole file. Lines may be taken one by one: no byte of a Shift_JIS character is a line feed."""
    wide, bad, first_bad, first_neither, marked = 0, 0, 0, 0, False
    for number, line in enumerate(file, 1):
        if b"\0" in line:
            raise CsvError(
                f"line {number} has a zero byte, so this is no CSV but an Excel workbook or UTF-16 text: "
                "save it as “CSV UTF-8” (CSV UTF-8（コンマ区切り）)"
            )
        marked = marked or (number == 1 and line.startswith(b"\xef\xbb\xbf"))
        if line.isascii():
            continue
        try:
            wide += max(line.decode()) >= "\u0800"
        except UnicodeDecodeError:
            bad, first_bad = bad + 1, first_bad or number
        if not first_neither and not _is_cp932(line):
            first_neither = number
    if not bad:
        return "utf-8-sig"
    # Japanese in Shift_JIS is hardly ever UTF-8 by chance: if most of it is, a few broken bytes are in a UTF-8 file.
    if marked or (wide and wide >= bad):
        raise CsvError(f"line {first_bad} is not UTF-8, although the rest of the file is: correct it, or save it again")
    if first_neither:
        raise CsvError(f"line {first_neither} is neither UTF-8 nor Shift_JIS: save the file as “CSV UTF-8”")
    return "cp932"


def _is_cp932(line: bytes) -> bool:
    try:
        text = line.decode("cp932")
    except UnicodeDecodeError:
        return False
    return not any(character in "\x80\xa0\uf8f0\uf8f1\uf8f2\uf8f3" for character in text)  # bytes without a meaning
