"""Rows → one item a picture, so that each picture is fetched and analysed once, whoever wrote how many lines for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ogiri.record import image_key
from ogiri_aws.rows import Row, RowError


class PictureLine(NamedTuple):
    """A line for a picture, and the line of the CSV that it stands on."""

    line_number: int
    line: str
    score: float | None


@dataclass(frozen=True)
class PictureItem:
    """A picture with all its lines.

    Attributes:
        image_url: where it comes from.
        image_key: its file name below `images/`, unique per URL.
        lines: in the order of the file, each once.
        labels: those of the CSV, without confidence; empty when it has none.
    """

    image_url: str
    image_key: str
    lines: tuple[PictureLine, ...]
    labels: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes and `from_json` reads."""
        return {
            "image_url": self.image_url,
            "image_key": self.image_key,
            "lines": [list(line) for line in self.lines],
            "labels": list(self.labels),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PictureItem:
        """The item that `to_json` wrote."""
        lines = tuple(PictureLine(*line) for line in value["lines"])
        return cls(value["image_url"], value["image_key"], lines, tuple(value.get("labels", ())))


@dataclass(frozen=True)
class Items:
    """What became of the rows of a file; `rows` = lines in `pictures` + `duplicates` + `errors`.

    Attributes:
        pictures: in the order of the file.
        errors: rows that were left out.
        rows: how many there were, blank ones and the header not counted.
        duplicates: rows that repeat an earlier one (same picture, same line) and were dropped.
    """

    pictures: list[PictureItem]
    errors: list[RowError]
    rows: int
    duplicates: int


@dataclass
class _Group:
    lines: dict[str, PictureLine] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


def group(rows: Iterable[Row | RowError]) -> Items:
    """Group rows by picture. Of equal rows the first stays; of several lists of labels the first with any."""
    groups: dict[str, _Group] = {}
    errors: list[RowError] = []
    count = duplicates = 0
    for row in rows:
        count += 1
        if isinstance(row, RowError):
            errors.append(row)
            continue
        picture = groups.setdefault(row.image_url, _Group())
        picture.labels = picture.labels or row.labels
        if row.line in picture.lines:
            duplicates += 1
        else:
            picture.lines[row.line] = PictureLine(row.line_number, row.line, row.score)
    pictures = [
        PictureItem(url, image_key(url), tuple(picture.lines.values()), picture.labels)
        for url, picture in groups.items()
    ]
    return Items(pictures, errors, count, duplicates)
