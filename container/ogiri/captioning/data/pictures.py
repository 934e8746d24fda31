"""The pictures of a job in columns, so that a million of them with ten labels each take a few hundred megabytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ogiri.record import Label

COUNTED_AT_ONCE = 1 << 16  # pictures, so that no list of all labels is made


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
class PictureColumns:
    """All pictures that were read, in any order. What is selected of them are rows, so nothing of this is copied.

    Attributes:
        keys: str (pictures,).
        texts: str (pictures,), empty where nothing is written.
        first_label: int64 (pictures,), where the labels of each picture begin in the two columns of labels.
        label_counts: int32 (pictures,).
        label_names: int32 (labels,), index into `names`.
        confidences: float64 (labels,), 0 to 100, NaN = unknown.
        names: each name of a label once.
    """

    keys: list[str]
    texts: list[str]
    first_label: NDArray[np.int64]
    label_counts: NDArray[np.int32]
    label_names: NDArray[np.int32]
    confidences: NDArray[np.float64]
    names: list[str]


class Pictures(Sequence[Picture]):
    """Some rows of the columns, as a sequence; a `Picture` is made when it is asked for."""

    def __init__(self, columns: PictureColumns, rows: NDArray[np.int32]) -> None:
        """Args: rows: (pictures,) of `columns`, in the order of this sequence."""
        self._columns, self._rows = columns, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Pictures: ...
    def __getitem__(self, index: int | slice) -> Picture | Pictures:
        if isinstance(index, slice):
            return Pictures(self._columns, self._rows[index])
        names, confidences = self.labels(index)
        known = self._columns.names
        labels = (
            Label(known[name], None if math.isnan(confidence) else confidence)
            for name, confidence in zip(names.tolist(), confidences.tolist(), strict=True)
        )
        return Picture(self.key(index), tuple(labels), self.text(index))

    def __iter__(self) -> Iterator[Picture]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} pictures>"

    @property
    def keys(self) -> list[str]:
        """The keys of all of them, without making a `Picture`."""
        return list(map(self._columns.keys.__getitem__, self._rows.tolist()))

    @property
    def texts(self) -> list[str]:
        """What is written in each of them."""
        return list(map(self._columns.texts.__getitem__, self._rows.tolist()))

    @property
    def label_counts(self) -> NDArray[np.int32]:
        """How many labels each of them has: (pictures,)."""
        return self._columns.label_counts[self._rows]

    @property
    def label_names(self) -> list[str]:
        """The names that `labels` and `name_counts` speak of; some may belong to no picture of these."""
        return self._columns.names

    def key(self, index: int) -> str:
        """The key of one."""
        return self._columns.keys[int(self._rows[index])]

    def text(self, index: int) -> str:
        """What is written in one."""
        return self._columns.texts[int(self._rows[index])]

    def labels(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The labels of one: (labels,) indices into `label_names`, (labels,) confidences, NaN = unknown."""
        span = self.label_span(index)
        return self._columns.label_names[span], self._columns.confidences[span]

    def label_span(self, index: int) -> slice:
        """Where the labels of one stand in the columns of labels, such as `all_confidences`."""
        row = self._rows[index]
        start = self._columns.first_label[row]
        return slice(start, start + self._columns.label_counts[row])

    @property
    def all_confidences(self) -> NDArray[np.float64]:
        """The column of confidences, those of other pictures too: (labels,), NaN = unknown."""
        return self._columns.confidences

    @property
    def all_names(self) -> NDArray[np.int32]:
        """The column of names, those of other pictures too: (labels,), indices into `label_names`."""
        return self._columns.label_names

    def name_counts(self) -> NDArray[np.int64]:
        """How many labels of these pictures have each of `label_names`: (names,)."""
        counts = np.zeros(len(self._columns.names), np.int64)
        for start in range(0, len(self), COUNTED_AT_ONCE):
            rows = self._rows[start : start + COUNTED_AT_ONCE]
            labels = self._columns.label_counts[rows]
            place = np.arange(labels.sum()) - np.repeat(np.cumsum(labels) - labels, labels)
            names = self._columns.label_names[np.repeat(self._columns.first_label[rows], labels) + place]
            counts += np.bincount(names, minlength=len(counts))
        return counts

    def take(self, indices: NDArray[np.integer]) -> Pictures:
        """Some of them, in the order of `indices`."""
        return Pictures(self._columns, self._rows[indices])
