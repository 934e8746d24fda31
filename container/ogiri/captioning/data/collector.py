"""Items, from wherever they come → records; those that are none are counted, and too many of them are an error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ogiri.captioning.data.items import ItemReader
from ogiri.captioning.data.records import DataError, Records, RecordsBuilder
from ogiri.machine import return_freed_memory
from ogiri.record import RecordError

MAX_INVALID_SHARE = 0.05
EXAMPLES = 5  # of invalid records in the log
PROGRESS_RECORDS = 50_000

_log = logging.getLogger(__name__)


class Collector:
    """Puts items into records and counts those that are none. Many threads may add."""

    def __init__(self, place: str) -> None:
        """Args: place: where the items come from, for the log."""
        self._place = place
        self._builder = RecordsBuilder()
        self._lock = threading.Lock()
        self._seen = self._invalid = 0
        self._examples: list[str] = []

    def add_page(self, items: Iterable[bytes | msgspec.Raw]) -> None:
        """Take typed items of DynamoDB, in JSON."""
        reader = ItemReader(self._builder)
        with self._lock:
            for item in items:
                self._count(reader.add, item)

    def add_lines(self, lines: Iterable[bytes], name: str) -> None:
        """Take the lines of a file, a record in JSON each; blank ones are none.

        Args:
            lines: of the file.
            name: of the file.
        """
        reader = ItemReader(self._builder)
        with self._lock:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    self._count(reader.add_line, line, f"{name} line {number}: ")

    def records(self, min_records: int, hint: str) -> Records:
        """All records, if they are enough; the log says how many.

        Raises:
            DataError: no or too few records, too many invalid ones.
        """
        for example in self._examples:
            _log.warning("left out a record of %s: %s", self._place, example)
        if not self._seen:
            raise DataError(f"{self._place} is empty: {hint}")
        if self._invalid > MAX_INVALID_SHARE * self._seen:
            raise DataError(
                f"{self._invalid:,} of {self._seen:,} records of {self._place} are invalid (at most "
                f"{MAX_INVALID_SHARE:.0%} may be): correct or delete them. The first: {self._examples[0]}"
            )
        records = self._builder.build()
        self._builder = RecordsBuilder()
        return_freed_memory()
        if len(records) < min_records:
            raise DataError(
                f"{self._place} has {len(records):,} records, fewer than the {min_records:,} of the hyperparameter "
                f"min_records: add more, or set min_records to {len(records)} or less"
            )
        counts = f"{len(records):,} records of {len(records.pictures):,} pictures"
        _log.info("read %s from %s, %s left out as invalid", counts, self._place, f"{self._invalid:,}")
        return records

    def _count(self, add: Callable[[Any], None], item: bytes | msgspec.Raw, where: str = "") -> None:
        try:
            add(item)
        except RecordError as error:
            self._invalid += 1
            if len(self._examples) < EXAMPLES:
                self._examples.append(f"{where}{error}")
        self._seen += 1
        if self._seen % PROGRESS_RECORDS == 0:
            _log.info("read %s records of %s", f"{self._seen:,}", self._place)
