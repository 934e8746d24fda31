"""What the page shows, as plain values: a page can be made without a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: WebP bytes, its width and height in pixels."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """A picture that the model has written a line for.

    Attributes:
        group: `best`, `middle` or `worst` among those that were evaluated.
        sample: its line of samples.jsonl.
        thumbnail: None where the picture could not be read again …
        reason: … and why.
    """

    group: str
    sample: Mapping[str, Any]
    thumbnail: Thumbnail | None
    reason: str = ""


@dataclass(frozen=True)
class Glance:
    """Where the decoder looked to choose one piece of a line. The shares add up to 1.

    Attributes:
        piece: the text that it chose, empty for the end of the line.
        grid: the share of each cell of the picture, row by row; empty where its cells are no square grid.
        picture, labels, text, controls, rest: shares; `rest` is nothing at all, or the words so far.
        label: the label that it looked at most, empty without labels.
    """

    piece: str
    grid: Sequence[Sequence[float]]
    picture: float
    labels: float
    text: float
    controls: float
    rest: float
    label: str = ""


@dataclass(frozen=True)
class Look:
    """A picture and where the decoder looked while it wrote its line."""

    shown: Shown
    glances: Sequence[Glance]


@dataclass(frozen=True)
class ReportData:
    """All that the page shows.

    Attributes:
        figures: what metrics.json holds, so that the two cannot differ.
        shown: the best pictures, then those in the middle, then the worst.
        looks: for a few of them.
        no_looks: why there are none; empty where there are.
    """

    figures: Mapping[str, Any]
    shown: Sequence[Shown]
    looks: Sequence[Look]
    no_looks: str = ""
