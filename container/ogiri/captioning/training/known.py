"""What is known of each picture of one side of the split, made for a batch out of the columns of all records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.pictures import Pictures
from ogiri.captioning.data.records import Records
from ogiri.captioning.model.conditioning import PADDING, UNKNOWN_CONFIDENCE, ConditionLimits, Conditions
from ogiri.captioning.model.controls import control_array
from ogiri.captioning.model.token_lines import TokenLines
from ogiri.captioning.model.tokenizer import Tokenizer

BUCKETS_AT_ONCE = 1 << 20  # labels

T = TypeVar("T")
Number = TypeVar("Number", bound=np.generic)
Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]


class OfPictures(Sequence[T], Generic[T]):
    """Something of each picture, made when it is asked for."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        """Args: count: of the pictures; make: what belongs to the picture of this index."""
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(one) for one in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"picture {index} of {self._count}")
        return self._make(int(index) % self._count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def references(records: Records) -> OfPictures[list[str]]:
    """The lines of each picture."""
    ends = np.searchsorted(records.picture_of, np.arange(len(records.pictures) + 1, dtype=np.int32))
    return OfPictures(len(records.pictures), lambda picture: records.lines[ends[picture] : ends[picture + 1]])


class Labels:
    """Names as tokens, once for all pictures, and confidences as buckets, in a column beside that of all labels."""

    def __init__(self, pictures: Pictures, tokenizer: Tokenizer, limits: ConditionLimits) -> None:
        """Args: pictures: whose columns these are, of both sides of the split."""
        lines = tokenizer.encode_lines([name.strip() for name in pictures.label_names]).cut(limits.max_label_pieces)
        self._lengths = lines.lengths
        self._pieces = np.full((len(lines), int(self._lengths.max(initial=0))), PADDING, np.int64)
        self._pieces[np.arange(self._pieces.shape[1]) < self._lengths[:, None]] = lines.tokens
        self._all_have_pieces = bool((self._lengths > 0).all())
        self._most = limits.max_labels
        self._buckets = np.full(len(pictures.all_confidences), UNKNOWN_CONFIDENCE, np.uint8)
        for start in range(0, len(self._buckets), BUCKETS_AT_ONCE):
            some = pictures.all_confidences[start : start + BUCKETS_AT_ONCE]
            found = 1 + np.searchsorted(limits.confidence_edges, some, "right")
            self._buckets[start : start + BUCKETS_AT_ONCE] = np.where(np.isnan(some), UNKNOWN_CONFIDENCE, found)

    def pieces(self, pictures: Pictures, index: int) -> tuple[Ints, Ints]:
        """Tokens and confidence buckets of the labels of a picture: (labels, pieces), padded with -1, and (labels,)."""
        span = pictures.label_span(index)
        names, buckets = self._kept(pictures.all_names[span], self._buckets[span])
        if not len(names):
            return np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
        return self._pieces[names, : self._lengths[names].max()], buckets.astype(np.int64)

    def shares(self, pictures: Pictures, index: int) -> npt.NDArray[np.float64]:
        """Confidences of the same labels, 0 to 1, unknown = 1: (labels,)."""
        span = pictures.label_span(index)
        _, known = self._kept(pictures.all_names[span], pictures.all_confidences[span])
        shares: npt.NDArray[np.float64] = known / 100
        shares[np.isnan(shares)] = 1.0
        return shares

    def _kept(self, names: npt.NDArray[np.int32], values: npt.NDArray[Number]) -> tuple[Ints32, npt.NDArray[Number]]:
        """The first labels whose names have tokens."""
        if not self._all_have_pieces:
            some = self._lengths[names] > 0
            names, values = names[some], values[some]
        return names[: self._most], values[: self._most]


def conditions(
    pictures: Pictures, labels: Labels, tokenizer: Tokenizer, limits: ConditionLimits
) -> OfPictures[Conditions]:
    """What `encode_conditions` gives for each picture."""
    texts, anything = _texts(pictures, tokenizer, limits), control_array()

    def make(index: int) -> Conditions:
        return Conditions(*labels.pieces(pictures, index), texts.array(index).astype(np.int64), anything)

    return OfPictures(len(pictures), make)


def confidences(pictures: Pictures, labels: Labels) -> OfPictures[npt.NDArray[np.float64]]:
    """How likely training keeps each label that `conditions` has: its confidence, 0 to 1, unknown = 1."""
    return OfPictures(len(pictures), lambda index: labels.shares(pictures, index))


def _texts(pictures: Pictures, tokenizer: Tokenizer, limits: ConditionLimits) -> TokenLines:
    """The tokens of what is written in each picture."""
    texts = [text.strip() for text in pictures.texts]
    written = tokenizer.encode_lines([text for text in texts if text]).cut(limits.max_text_pieces)
    lengths = np.zeros(len(texts), np.int64)  # most pictures have none
    lengths[[index for index, text in enumerate(texts) if text]] = written.lengths
    return TokenLines(written.tokens, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
