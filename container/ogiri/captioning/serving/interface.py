"""What decoding and the predictor need of an engine; `engine.Engine` and `torch_engine.TorchEngine` have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.serving.state import Array, State

Floats = npt.NDArray[np.float32]


class LineRows(Protocol):
    """Lines in progress that are stepped together; `slab.Slab` says what the methods do.

    Attributes:
        rows: lines that are there, in the rows 0 to `rows`.
        capacity: how many there may be.
        plenty: how many are worth stepping together: with more, a step takes longer in proportion.
    """

    rows: int
    capacity: int
    plenty: int

    def prefill(self, row: int, known: Mapping[str, Array], bos: int) -> Floats:
        """Begin a line; returns (1, vocabulary) logits."""

    def copy(self, source: int, target: int) -> None:
        """Let one row be as another."""

    def cut(self, rows: int) -> None:
        """Forget all rows from this one on."""

    def rest(self) -> None:
        """Give memory back while there is no row."""

    def step(self, tokens: Sequence[int]) -> Floats:
        """One more token for each row; returns (rows, vocabulary) logits."""


class CaptionEngine(Protocol):
    """An encoder and a decoder that are loaded; `engine.Engine` says what the methods do.

    Attributes:
        channels: width of the encoder's map.
        vocabulary: tokens.
    """

    channels: int
    vocabulary: int

    @property
    def grows(self) -> bool:
        """Whether the state gets longer with every step."""

    def encode(self, pictures: npt.NDArray[np.uint8], *, keep_memory: bool = True) -> Floats:
        """Feature maps of pictures: (batch, size, size, 3) RGB → (batch, cells, channels)."""

    def known(self, maps: npt.NDArray[Any] | None, conditions: Conditions) -> dict[str, Array]:
        """The inputs of the prefix."""

    def prefill(self, maps: npt.NDArray[Any] | None, conditions: Conditions, bos: int) -> tuple[Floats, State]:
        """Take in all that is known, and the begin token."""

    def step(self, tokens: npt.NDArray[np.int64], state: State) -> tuple[Floats, State]:
        """One more token a row, for rows that were prefilled together."""

    def slab(self, tokens: int, known: int = 0) -> LineRows:
        """Memory for lines of at most so many tokens, beside so many labels and pieces of text, stepped together."""

    def memory_bytes(self) -> int:
        """Bytes that it takes."""
