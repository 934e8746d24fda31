"""What a request may ask of a line beside what is known of its picture: how well it is to be liked, and how long.

Training finds both out of the lines themselves: scores and lengths fall into levels that hold about as many lines each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SCORE_LEVELS = 5
LENGTHS = ("short", "medium", "long")
CONTROLS = ("score", "length")  # the columns of a control array
LEVELS = (SCORE_LEVELS, len(LENGTHS))
NOT_GIVEN = 0  # level n of a control is n + 1

Ints = npt.NDArray[np.int64]


def control_array(score: int | None = None, length: str | None = None) -> Ints:
    """What is asked of one line: (2,) int64, 0 where nothing is."""
    return np.array(
        [NOT_GIVEN if score is None else score + 1, NOT_GIVEN if length is None else LENGTHS.index(length) + 1],
        np.int64,
    )


def control_starts() -> Ints:
    """Where the levels of each control begin in one table of all levels: (2,) int64."""
    return np.cumsum([0, *(count + 1 for count in LEVELS[:-1])])


@dataclass(frozen=True)
class ControlEdges:
    """Where the levels of each control begin; an empty tuple where the lines did not tell, or nobody asked.

    Attributes:
        score: least score of level 1, 2, … of 4.
        length: least characters of `medium` and of `long`.
    """

    score: tuple[float, ...] = ()
    length: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ControlEdges:
        """The reverse of `dataclasses.asdict`.

        Raises:
            ValueError: an unknown control, or edges that are no numbers.
        """
        unknown = set(value) - set(CONTROLS)
        if unknown:
            raise ValueError(f"unknown control {min(unknown)}")
        try:
            return cls(**{name: tuple(float(edge) for edge in edges) for name, edges in value.items()})
        except TypeError as error:
            raise ValueError(f"edges of controls are {dict(value)}: they must be lists of numbers") from error

    def known(self, name: str) -> bool:
        """Whether the model has learned this control."""
        return bool(getattr(self, name))

    def levels(self, score: float, characters: int) -> Ints:
        """What a line would have had to be asked for: (2,) int64; a score that is NaN is unknown."""
        return np.array(
            [
                NOT_GIVEN if not self.score or score != score else 1 + bisect_right(self.score, score),
                NOT_GIVEN if not self.length else 1 + bisect_right(self.length, characters),
            ],
            np.int64,
        )


def find_edges(scores: Iterable[float], characters: Sequence[int]) -> ControlEdges:
    """Edges that put about as many lines into each level.

    A control is left out where its lines do not fill every level, for example where all scores are equal.

    Args:
        scores: of the training lines, NaN = unknown.
        characters: of the training lines.
    """
    return ControlEdges(
        _quantiles([score for score in scores if score == score], SCORE_LEVELS), _quantiles(characters, len(LENGTHS))
    )


def _quantiles(values: Sequence[float], levels: int) -> tuple[float, ...]:
    if not values:
        return ()
    ordered = np.sort(np.asarray(values, np.float64))
    edges = ordered[[round(len(ordered) * level / levels) for level in range(1, levels)]]
    filled = len(np.unique(edges)) == levels - 1 and edges[0] > ordered[0]
    return tuple(edges.tolist()) if filled else ()
