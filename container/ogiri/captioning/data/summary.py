"""What the training data is like, as a plain value for the report: what was read, what was left out and why."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ogiri.captioning.data.features import Broken
from ogiri.captioning.data.lines import Dropped, by_reason
from ogiri.captioning.data.records import Records

MAX_BINS = 20
EXAMPLES = 10  # of anything
EXAMPLE_PICTURES = 5  # of a group


@dataclass(frozen=True)
class LineOf:
    """A line and the picture that it stands for."""

    image_key: str
    line: str


@dataclass(frozen=True)
class DroppedLines:
    """Lines that were left out for one reason.

    Attributes:
        reason: in words, `longer than 200 characters`.
        count: of them.
        examples: the first few.
    """

    reason: str
    count: int
    examples: tuple[LineOf, ...]


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of pictures that look alike; a picture that looks like no other is in none of them.

    Attributes:
        groups: of two pictures or more.
        pictures: in all of these groups.
        largest: pictures of the largest group, 0 where there is none.
        examples: keys of the pictures of some groups, the largest first; of a large group the first few.
    """

    groups: int
    pictures: int
    largest: int
    examples: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Side:
    """One side of the split.

    Attributes:
        pictures: of this side.
        lines: of these pictures.
        groups: of pictures, one that looks like no other counted as a group of its own.
    """

    pictures: int
    lines: int
    groups: int


@dataclass(frozen=True)
class Bin:
    """How many numbers are at least `start` and less than `end`."""

    start: int
    end: int
    count: int


@dataclass(frozen=True)
class Distribution:
    """Whole numbers in short; zeros and no bins where there are none.

    Attributes:
        mean, p5, p50, p95, longest: average, percentiles and maximum.
        bins: of equal width, at most `MAX_BINS`, without gaps.
    """

    mean: float
    p5: int
    p50: int
    p95: int
    longest: int
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class DataSummary:
    """The data of one job.

    Attributes:
        records_read, pictures_read: valid records, and the pictures that they stand for, before anything was dropped.
        dropped_lines: by reason, most first.
        dropped_pictures: pictures of which no line was left.
        broken_pictures: pictures that could not be read, and why.
        near_duplicates: pictures that look alike.
        train, validation: the sides of the split: what is left.
        line_characters: how long the lines of both sides are.
        labels_per_picture: how many labels the pictures of both sides have.
        pictures_with_text: share of the pictures with detected text.
        lines_with_score: share of the lines with a score.
        shared_lines: lines of the validation side that also stand in the training side, for other pictures, word for
            word but for width, case and white space around them.
        shared_examples: some of them.
        cut_lines: lines of more than `max_length` tokens, which were cut.
    """

    records_read: int
    pictures_read: int
    dropped_lines: tuple[DroppedLines, ...]
    dropped_pictures: int
    broken_pictures: tuple[Broken, ...]
    near_duplicates: NearDuplicates
    train: Side
    validation: Side
    line_characters: Distribution
    labels_per_picture: Distribution
    pictures_with_text: float
    lines_with_score: float
    shared_lines: int
    shared_examples: tuple[str, ...]
    cut_lines: int

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return dataclasses.asdict(self)


def summarise(
    records: Records,
    dropped: Sequence[Dropped],
    broken: Sequence[Broken],
    sides: Sequence[Records],
    groups: Sequence[Sequence[str]],
    cut_lines: int,
) -> DataSummary:
    """What the data of a job is like.

    Args:
        records: what was left after `dropped`, those of broken pictures too.
        dropped: lines that were left out.
        broken: pictures that could not be read.
        sides: to train on, and held out.
        groups: for each side, the names of its pictures' groups.
        cut_lines: lines of more than `max_length` tokens.
    """
    train, validation = sides
    count = len(train.pictures) + len(validation.pictures)
    characters = [np.fromiter(map(len, side.lines), np.int64, len(side)) for side in sides]
    shared = shared_lines(train.lines, validation.lines)
    dropped_pictures = {one.image_key for one in dropped}
    dropped_pictures.difference_update(records.pictures.keys)
    return DataSummary(
        records_read=len(records) + len(dropped),
        pictures_read=len(records.pictures) + len(dropped_pictures),
        dropped_lines=tuple(
            DroppedLines(reason, len(some), tuple(LineOf(one.image_key, one.line) for one in some[:EXAMPLES]))
            for reason, some in by_reason(dropped)
        ),
        dropped_pictures=len(dropped_pictures),
        broken_pictures=tuple(broken),
        near_duplicates=_near_duplicates([*train.pictures.keys, *validation.pictures.keys], [*groups[0], *groups[1]]),
        train=Side(len(train.pictures), len(train), len(set(groups[0]))),
        validation=Side(len(validation.pictures), len(validation), len(set(groups[1]))),
        line_characters=distribution(np.concatenate(characters)),
        labels_per_picture=distribution(np.concatenate([side.pictures.label_counts for side in sides])),
        pictures_with_text=sum(sum(map(bool, side.pictures.texts)) for side in sides) / max(1, count),
        lines_with_score=sum(int((~np.isnan(side.scores)).sum()) for side in sides) / max(1, sum(map(len, sides))),
        shared_lines=len(shared),
        shared_examples=tuple(dict.fromkeys(shared))[:EXAMPLES],
        cut_lines=cut_lines,
    )


def shared_lines(train: Sequence[str], validation: Sequence[str]) -> list[str]:
    """The lines of `validation` that are in `train` too, but for width, case and white space around them."""
    folded = [_folded(line) for line in validation]
    asked = set(folded)  # the smaller side: a million folded lines would take a hundred megabytes
    known = {line for line in map(_folded, train) if line in asked}
    return [line for line, own in zip(validation, folded, strict=True) if own in known]


def _folded(line: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", line).casefold()).strip()


def _near_duplicates(keys: Sequence[str], groups: Sequence[str]) -> NearDuplicates:
    sizes = Counter(groups)
    members: dict[str, list[str]] = {}
    for key, group in zip(keys, groups, strict=True):
        if sizes[group] > 1:
            members.setdefault(group, []).append(key)
    alike = sorted((sorted(some) for some in members.values()), key=lambda some: (-len(some), some))
    return NearDuplicates(
        groups=len(alike),
        pictures=sum(map(len, alike)),
        largest=len(alike[0]) if alike else 0,
        examples=tuple(tuple(some[:EXAMPLE_PICTURES]) for some in alike[:EXAMPLES]),
    )


def distribution(numbers: ArrayLike) -> Distribution:
    """Whole numbers, none below zero, in short."""
    values = np.asarray(numbers, np.int64)
    if not len(values):
        return Distribution(0.0, 0, 0, 0, 0, ())
    p5, p50, p95 = np.percentile(values, (5, 50, 95), method="lower").tolist()
    low, high = int(values.min()), int(values.max())
    width = -(-(high + 1 - low) // MAX_BINS)
    counts = np.bincount((values - low) // width).tolist()
    bins = tuple(Bin(low + i * width, low + (i + 1) * width, count) for i, count in enumerate(counts))
    return Distribution(float(values.mean()), p5, p50, p95, high, bins)
