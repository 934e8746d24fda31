"""What the decoder's graph carries from step to step, as `decoding.state` of the manifest describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
State = dict[str, Array]
"""Name → (rows, …)."""

PAST = "past"
"""The state that says how many positions the caches hold of each row, where there are caches."""


@dataclass(frozen=True)
class StateEntry:
    """One array of the state.

    Attributes:
        name: `hidden`; the graph takes it under this name and gives it back as `next.hidden`.
        shape: of one row before prefill, which sees zeros; an axis that grows has 0.
        dtype: `float32`.
        constant: it does not change after prefill.
        padding: what a constant that grows is filled up with beside a longer one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    constant: bool = False
    padding: float = 0.0

    @property
    def grows(self) -> bool:
        """It is longer with every step: a cache, (rows, heads, positions, width). There may be a last position."""
        return 0 in self.shape and not self.constant

    @property
    def axis(self) -> int:
        """The axis of the whole array that grows.

        Raises:
            ValueError: none does.
        """
        return 1 + self.shape.index(0)

    def start(self, rows: int) -> Array:
        """Before prefill: zeros."""
        return np.zeros((rows, *self.shape), self.dtype)
