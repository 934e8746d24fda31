"""All records of a job in columns: pictures once, and for each record its picture, line and score."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ogiri.captioning.data.pictures import PictureColumns, Pictures
from ogiri.record import Record
from ogiri.task import UserError

_MAX_SCORE = float(np.finfo(np.float32).max)
_UNKNOWN = float("nan")


class DataError(UserError):
    """Training data that cannot be had or used; the message names the thing and the way out."""


@dataclass(frozen=True, eq=False)
class Records:
    """Records in the order of (picture key, line), whatever order they were read in; no pair comes twice.

    Attributes:
        pictures: sorted by key.
        picture_of: int32 (records,), index into `pictures`; never less than the one before.
        lines: str (records,).
        scores: float32 (records,), NaN = unknown.
    """

    pictures: Pictures
    picture_of: NDArray[np.int32]
    lines: list[str]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.lines)

    def select(self, pictures: ArrayLike) -> Records:
        """The records of these pictures, in the same order as here.

        Args:
            pictures: integer indices into `self.pictures`, in any order.

        Raises:
            IndexError: there is no such picture.
        """
        chosen = np.unique(np.asarray(pictures, dtype=np.int64))
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < len(self.pictures):
            raise IndexError(f"pictures {chosen[0]} to {chosen[-1]} of {len(self.pictures)}")
        wanted = np.zeros(len(self.pictures), dtype=np.bool_)
        wanted[chosen] = True
        return self.keep(wanted[self.picture_of])

    def keep(self, wanted: NDArray[np.bool_]) -> Records:
        """Some records, in the same order as here, and the pictures that they stand for.

        Args:
            wanted: (records,).
        """
        kept = np.flatnonzero(wanted)
        chosen, picture_of = np.unique(self.picture_of[kept], return_inverse=True)
        return Records(
            self.pictures.take(chosen),
            picture_of.reshape(-1).astype(np.int32),
            [self.lines[index] for index in kept.tolist()],
            self.scores[kept],
        )


class RecordsBuilder:
    """Takes records one by one, in any order, and keeps of each only what is new.

    What many records say of one picture is taken from the first of them, by line, that says anything. Of two records
    with the same picture and line (a table has none, files may) the better score counts.

    Attributes:
        names: each name of a label that was seen, and its number.
    """

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self._index: dict[str, int] = {}
        self._keys: list[str] = []
        self._texts: list[str] = []
        self._label_lines: list[str] = []  # the line of the record that gave each picture its labels …
        self._text_lines: list[str] = []  # … and its text
        self._first_label, self._label_counts = array("q"), array("i")
        self._label_names, self._confidences = array("i"), array("d")
        self._picture_of = array("i")
        self._lines: list[str] = []
        self._scores = array("f")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, record: Record) -> None:
        """Take a record."""
        names = [self.names.setdefault(label.name, len(self.names)) for label in record.labels]
        confidences = [_UNKNOWN if label.confidence is None else label.confidence for label in record.labels]
        self.add_row(record.image_key, record.line, names, confidences, record.detected_text, record.score)

    def add_row(
        self,
        key: str,
        line: str,
        names: Sequence[int],
        confidences: Sequence[float],
        detected_text: str,
        score: float | None,
    ) -> None:
        """Take what a record holds.

        Args:
            key: of the picture.
            line: for it.
            names: numbers of its labels' names, as in `self.names`, best first.
            confidences: of its labels, NaN = unknown.
            detected_text: empty when nothing is written.
            score: of the line, None = unknown.
        """
        index = self._index.setdefault(key, len(self._keys))
        if index == len(self._keys):
            self._add_picture(key)
        if names and (not self._label_counts[index] or line < self._label_lines[index]):
            self._label_lines[index] = line
            self._set_labels(index, names, confidences)
        if detected_text and (not self._texts[index] or line < self._text_lines[index]):
            self._text_lines[index] = line
            self._texts[index] = detected_text
        self._picture_of.append(index)
        self._lines.append(line)
        if score is None or score != score:
            self._scores.append(_UNKNOWN)
        else:
            self._scores.append(max(-_MAX_SCORE, min(_MAX_SCORE, score)))

    def build(self) -> Records:
        """The records so far, sorted; nothing can be added after that."""
        self._index, self._label_lines, self._text_lines = {}, [], []  # 100 MB for a million pictures
        by_key = np.array(sorted(range(len(self._keys)), key=self._keys.__getitem__), dtype=np.int32)
        rank = np.empty(len(by_key), dtype=np.int32)
        rank[by_key] = np.arange(len(by_key), dtype=np.int32)
        scores = np.frombuffer(self._scores, np.float32)
        picture_of = rank[np.frombuffer(self._picture_of, np.int32)]
        # Stable sorts, the weightiest last: score (best first, unknown last), and line within each picture.
        order = np.argsort(-scores, kind="stable")
        order = order[np.argsort(picture_of[order], kind="stable")]
        self._sort_by_line(order, picture_of[order])
        order = order[_first_of_equals([self._lines[index] for index in order.tolist()], picture_of[order])]
        return Records(
            Pictures(self._columns(), by_key),
            picture_of[order],
            [self._lines[index] for index in order.tolist()],
            scores[order],
        )

    def _add_picture(self, key: str) -> None:
        self._keys.append(key)
        self._texts.append("")
        self._label_lines.append("")
        self._text_lines.append("")
        self._first_label.append(0)
        self._label_counts.append(0)

    def _set_labels(self, index: int, names: Sequence[int], confidences: Sequence[float]) -> None:
        start, count = self._first_label[index], self._label_counts[index]
        if count == len(names) and (
            self._label_names[start : start + count] == array("i", names)
            and self._confidences[start : start + count].tobytes() == array("d", confidences).tobytes()
        ):
            return  # as nearly always: all records of a picture have the same
        self._first_label[index], self._label_counts[index] = len(self._label_names), len(names)
        self._label_names.extend(names)
        self._confidences.extend(confidences)

    def _columns(self) -> PictureColumns:
        return PictureColumns(
            self._keys,
            self._texts,
            np.frombuffer(self._first_label, np.int64),
            np.frombuffer(self._label_counts, np.int32),
            np.frombuffer(self._label_names, np.int32),
            np.frombuffer(self._confidences, np.float64),
            list(self.names),
        )

    def _sort_by_line(self, order: NDArray[np.int64], pictures: NDArray[np.int32]) -> None:
        """Sort the part of `order` that belongs to each picture by line, in place."""
        starts = np.flatnonzero(np.diff(pictures, prepend=-1))
        ends = np.append(starts[1:], len(order))
        several = ends - starts > 1
        for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
            order[start:end] = sorted(order[start:end].tolist(), key=self._lines.__getitem__)


def _first_of_equals(lines: Sequence[str], pictures: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where the record is not the same line for the same picture as the one before: bool (records,)."""
    first = np.ones(len(lines), dtype=np.bool_)
    same_line = np.fromiter((a == b for a, b in pairwise(lines)), dtype=np.bool_, count=max(len(lines) - 1, 0))
    first[1:] = (pictures[1:] != pictures[:-1]) | ~same_line
    return first
