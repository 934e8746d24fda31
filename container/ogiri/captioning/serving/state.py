"""The decoder's memory of lines in progress: one row a line, along axis 0 of every array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StateEntry:
    """One array of the state, as `decoding.state` of the manifest has it.

    Attributes:
        name: `hidden`; the graph takes it under this name and gives it back as `next.hidden`.
        shape: of one row before prefill, which sees zeros.
        dtype: `float32`.
        constant: it does not change after prefill.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    constant: bool = False

    @property
    def grows(self) -> bool:
        """It gets longer with every step, so the graph may have a last position."""
        return 0 in self.shape and not self.constant


@dataclass(frozen=True)
class State:
    """What the decoder carries from step to step.

    Attributes:
        varying: name → (rows, …), new at each step.
        constant: name → (rows, …), as prefill made it.
        prefixes: (rows,) which prefilled row each came from: rows of one prefix have the same constants.
    """

    varying: dict[str, Array]
    constant: dict[str, Array]
    prefixes: Rows

    @property
    def rows(self) -> int:
        """How many lines it holds."""
        return len(self.prefixes)

    def take(self, rows: npt.ArrayLike) -> State:
        """These rows in this order; a row may come several times, or not at all.

        Constants are copied only where a row changes its prefix: beams of one picture change places at every step.
        """
        index = np.asarray(rows, np.int64)
        if np.array_equal(index, np.arange(self.rows)):
            return self
        prefixes = self.prefixes[index]
        constant = self.constant
        if not np.array_equal(prefixes, self.prefixes):
            constant = {name: array[index] for name, array in constant.items()}
        return State({name: array[index] for name, array in self.varying.items()}, constant, prefixes)

    def repeat(self, count: int) -> State:
        """Each row `count` times, one after the other."""
        return self.take(np.repeat(np.arange(self.rows), count))


def concatenate(states: Sequence[State]) -> State:
    """Rows of several states as one.

    Raises:
        ValueError: their rows differ in shape, as those of prefixes of different lengths do.
    """
    first = states[0]
    starts = np.cumsum([0, *(int(state.prefixes.max(initial=-1)) + 1 for state in states)])
    return State(
        {name: np.concatenate([state.varying[name] for state in states]) for name in first.varying},
        {name: np.concatenate([state.constant[name] for state in states]) for name in first.constant},
        np.concatenate([state.prefixes + start for state, start in zip(states, starts, strict=False)]),
    )
