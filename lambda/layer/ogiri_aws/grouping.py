"""Rows → items by way of a file: what `items.group` does, for a CSV that does not fit into memory."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from ogiri.record import image_key
from ogiri_aws.items import PictureItem, PictureLine
from ogiri_aws.rows import Row

# The file is gone when the call ends, so nothing needs to survive a crash.
_SETTINGS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -65536;"
_TABLES = """
CREATE TABLE picture (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, labels TEXT NOT NULL);
CREATE TABLE line (picture INTEGER, line TEXT, number INTEGER, score REAL, PRIMARY KEY (picture, line)) WITHOUT ROWID;
"""
_PICTURE = """
INSERT INTO picture (url, labels) VALUES (?, ?)
ON CONFLICT (url) DO UPDATE SET labels = CASE labels WHEN '[]' THEN excluded.labels ELSE labels END RETURNING id
"""
_LINE = "INSERT INTO line VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ITEMS = """
SELECT picture.id, url, labels, number, line, score FROM picture JOIN line ON line.picture = picture.id
ORDER BY picture.id
"""


@dataclass
class Counts:
    """What went in.

    Attributes:
        pictures: with at least one line.
        lines: each once a picture.
        duplicates: rows that repeat an earlier one.
    """

    pictures: int = 0
    lines: int = 0
    duplicates: int = 0


class Grouping:
    """Rows in the order of the file go in, items in the order of their first row come out.

    Of equal rows the first stays; of several lists of labels of a picture the first with any.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.executescript(_SETTINGS + _TABLES)
        self.counts = Counts()

    def add(self, row: Row) -> None:
        """Put a row in."""
        labels = json.dumps(row.labels, ensure_ascii=False)
        ((picture,),) = self._database.execute(_PICTURE, (row.image_url, labels)).fetchall()
        written = self._database.execute(_LINE, (picture, row.line, row.line_number, row.score)).rowcount
        self.counts.lines += written
        self.counts.duplicates += 1 - written
        self.counts.pictures = max(self.counts.pictures, picture)

    def items(self) -> Iterator[PictureItem]:
        """One for each picture; the lines of one picture are in memory at a time."""
        for (_, url, labels), rows in itertools.groupby(self._database.execute(_ITEMS), key=itemgetter(0, 1, 2)):
            lines = sorted(PictureLine(number, line, score) for *_, number, line, score in rows)
            yield PictureItem(url, image_key(url), tuple(lines), tuple(json.loads(labels)))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
