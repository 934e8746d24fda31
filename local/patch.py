"""Connected patches of a picture: how large, how round, where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
    spans = [int(columns[rows == row].max() - columns[rows == row].min()) + 1 for row in np.unique(rows)]
    area = float(sum(spans))  # of the outline: eyes and windows are part of a face and of a house
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
    """Number the connected patches of a mask from 1, 0 elsewhere: runs of each row, joined to those above."""
    numbers = np.zeros(mask.shape, dtype=np.int64)
    parent = [0]

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for y, row in enumerate(mask):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        for start, stop in zip(ends[::2], ends[1::2], strict=True):
            above: Any = np.unique(numbers[y - 1, start:stop]) if y else []
            roots = {root(int(number)) for number in above if number}
            number = min(roots, default=len(parent))
            if not roots:
                parent.append(number)
            for other in roots:
                parent[other] = number
            numbers[y, start:stop] = number
    _, dense = np.unique([root(number) for number in range(len(parent))], return_inverse=True)
    return dense[numbers]
