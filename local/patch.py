"""Connected patches of a picture: how large, how round, where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from local.colour import Indices, shares
from local.label import Box

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Patch:
    """A connected patch.

    Attributes:
        colour: index in COLOURS of its commonest colour.
        share: its part of the picture.
        box: where it is.
        roundness: its area over that of the circle around it: 1 for a disc, 0.64 for a square.
        fill: its area over that of its box: 1 for a rectangle, 0.79 for a disc, 0.5 for a triangle.
    """

    colour: int
    share: float
    box: Box
    roundness: float
    fill: float


def patches(mask: Mask, colours: Indices, smallest_share: float) -> list[Patch]:
    """The connected patches of a mask that are at least so large, largest first.

    Args:
        mask: (height, width), true where a patch may be.
        colours: (height, width), what `colour.named` says of each pixel.
        smallest_share: of all pixels.
    """
    numbers = _connected(mask)
    sizes = np.bincount(numbers.ravel())
    large = [int(number) for number in np.flatnonzero(sizes >= smallest_share * mask.size) if number]
    return sorted((_patch(numbers == number, colours) for number in large), key=lambda patch: -patch.share)


def _patch(mask: Mask, colours: Indices) -> Patch:
    rows_in_all, columns_in_all = mask.shape
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    turns = np.flatnonzero(np.diff(rows))  # np.nonzero goes row by row
    spans = columns[np.append(turns, -1)] - columns[np.insert(turns + 1, 0, 0)] + 1
    area = float(spans.sum())  # of the outline: eyes and windows are part of a face and of a house
    centre_y, centre_x = rows.mean(), columns.mean()
    radius = float(np.hypot(rows - centre_y, columns - centre_x).max()) + 0.5
    return Patch(
        colour=int(shares(colours[mask]).argmax()),
        share=float(mask.sum()) / mask.size,
        box=Box(left / columns_in_all, top / rows_in_all, width / columns_in_all, height / rows_in_all),
        roundness=min(1.0, area / (math.pi * radius**2)),
        fill=area / (width * height),
    )


def _connected(mask: Mask) -> Indices:
    """Number the connected patches of a mask from 1, 0 elsewhere: the runs of each row, joined to those above."""
    height, width = mask.shape
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    row, start, stop = rows.tolist(), starts.tolist(), stops.tolist()
    above = 0  # the first run that may touch the present one from above
    for run in range(len(row)):
        while row[above] < row[run] - 1 or (row[above] == row[run] - 1 and stop[above] <= start[run]):
            above += 1
        other = above
        while row[other] == row[run] - 1 and start[other] < stop[run]:
            parent[root(run)] = root(other)
            other += 1
    _, dense = np.unique([root(run) for run in range(len(row))], return_inverse=True)
    filled = np.zeros(height * width, dtype=np.int64)
    filled[mask.ravel()] = np.repeat(dense + 1, stops - starts)
    return filled.reshape(height, width)
