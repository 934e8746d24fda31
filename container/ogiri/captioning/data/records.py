"""All records of a job in columns: pictures once, and for each record its picture, line and score."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ogiri.record import Label, Record
from ogiri.task import UserError

_MAX_SCORE = float(np.finfo(np.float32).max)


class DataError(UserError):
    """Training data that cannot be had or used; the message names the thing and the way out."""


@dataclass(frozen=True)
class Picture:
    """A picture that has at least one line.

    Attributes:
        key: its file name in the `training` channel.
        labels: what is to be seen, best first.
        detected_text: what is written in it, empty when nothing is.
    """

    key: str
    labels: tuple[Label, ...] = ()
    detected_text: str = ""


@dataclass(frozen=True, eq=False)
class Records:
    """Records in the order of (picture key, line), whatever order they were read in; no pair comes twice.

    Attributes:
        pictures: sorted by key.
        picture_of: int32 (records,), index into `pictures`.
        lines: str (records,).
        scores: float32 (records,), NaN = unknown.
    """

    pictures: tuple[Picture, ...]
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
            tuple(self.pictures[index] for index in chosen),
            picture_of.reshape(-1).astype(np.int32),
            [self.lines[index] for index in kept],
            self.scores[kept],
        )


class RecordsBuilder:
    """Takes records one by one, in any order, and keeps of each only what is new.

    What many records say of one picture is taken from the first of them, by line, that says anything. Of two records
    with the same picture and line (a table has none, files may) the better score counts.
    """

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._pictures: list[Picture] = []
        self._label_lines: list[str] = []  # the line of the record that gave each picture its labels …
        self._text_lines: list[str] = []  # … and its text
        self._picture_of = array("i")
        self._lines: list[str] = []
        self._scores = array("f")
        self._names_only: dict[str, Label] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, record: Record) -> None:
        """Take a record."""
        index = self._index.setdefault(record.image_key, len(self._pictures))
        if index == len(self._pictures):
            self._pictures.append(Picture(record.image_key))
            self._label_lines.append("")
            self._text_lines.append("")
        picture = self._pictures[index]
        if record.labels and (not picture.labels or record.line < self._label_lines[index]):
            picture = replace(picture, labels=tuple(map(self._shared, record.labels)))
            self._label_lines[index] = record.line
        if record.detected_text and (not picture.detected_text or record.line < self._text_lines[index]):
            picture = replace(picture, detected_text=record.detected_text)
            self._text_lines[index] = record.line
        self._pictures[index] = picture
        self._picture_of.append(index)
        self._lines.append(record.line)
        score = np.nan if record.score is None else record.score
        self._scores.append(max(-_MAX_SCORE, min(_MAX_SCORE, score)) if score == score else score)

    def build(self) -> Records:
        """The records so far, sorted."""
        keys = [picture.key for picture in self._pictures]
        by_key = sorted(range(len(keys)), key=keys.__getitem__)
        rank = np.empty(len(keys), dtype=np.int32)
        rank[by_key] = np.arange(len(keys), dtype=np.int32)
        scores = np.array(self._scores, dtype=np.float32)
        picture_of = rank[np.array(self._picture_of, dtype=np.int32)]
        # Three stable sorts, the weightiest last: score (best first, unknown last), line, picture.
        order = np.argsort(-scores, kind="stable")
        order = np.array(sorted(order.tolist(), key=self._lines.__getitem__), dtype=np.int64)
        order = order[np.argsort(picture_of[order], kind="stable")]
        order = order[_first_of_equals([self._lines[index] for index in order], picture_of[order])]
        return Records(
            tuple(self._pictures[index] for index in by_key),
            picture_of[order],
            [self._lines[index] for index in order],
            scores[order],
        )

    def _shared(self, label: Label) -> Label:
        """An equal label that takes no memory of its own where that is possible: a million pictures have ten each."""
        if label.confidence is None:
            return self._names_only.setdefault(label.name, label)
        return Label(sys.intern(label.name), label.confidence)


def _first_of_equals(lines: Sequence[str], pictures: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where the record is not the same line for the same picture as the one before: bool (records,)."""
    first = np.ones(len(lines), dtype=np.bool_)
    same_line = np.fromiter((a == b for a, b in pairwise(lines)), dtype=np.bool_, count=max(len(lines) - 1, 0))
    first[1:] = (pictures[1:] != pictures[:-1]) | ~same_line
    return first
