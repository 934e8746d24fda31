"""Lines side by side in the memory of a GPU: `slab.Slab` for a decoder in torch.

Every step takes all `ROWS` rows, whether a line is in them or not. So its shapes never change: the GPU takes the same
kernels for it each time, a line cannot depend on how many others stand beside it, and one CUDA graph holds the step.
What it costs is little, since a step waits for the weights to be read, and they are read once for all rows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ogiri.captioning.model.decoder import Prefix, State
from ogiri.captioning.serving.state import Array

ROWS = 64
WARM_UPS = 3  # steps before a CUDA graph is recorded, in which libraries choose kernels and take memory

_SLOTS = ("map", "label_confidence", "text_pieces", "controls")  # inputs of a prefix that have an axis of slots

GPU_TURN = threading.Lock()
"""Whoever asks something of the GPU holds it: a picture that is encoded in another thread would spoil a recording."""


class RowDecoder(Protocol):
    """A decoder whose lines in progress lie in memory of a fixed shape, rows first.

    Attributes:
        vocabulary: tokens.
        grows: whether a line has positions, and so a last one.
    """

    vocabulary: int
    grows: bool

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the weights there, as numbers of this type.

        The last product is computed in float32 still: logits around 16 are 0.06 apart in bfloat16.
        """

    def make_rows(self, rows: int, slots: int, tokens: int) -> State:
        """Memory for lines of at most `tokens` tokens, the begin token counted, beside at most `slots` slots."""

    def begin(self, state: State, row: int, prefix: Prefix, bos: int) -> tuple[Tensor, int]:
        """Write a prefix and the begin token into a row.

        Args:
            state: the rows' memory.
            row: its number.
            prefix: of one picture, (1, …) each.
            bos: the begin token.

        Returns:
            (1, vocabulary) float32 logits of the first token, and the positions that the row's cache holds, 0 where
            there is none.
        """

    def advance_rows(self, state: State, taken: Tensor) -> Tensor:
        """Write one more token into each row, without a copy and without waiting for the GPU.

        Args:
            state: the rows' memory.
            taken: (3, rows) int64: the tokens, their positions in the line, and the positions that the caches hold.

        Returns:
            (rows, vocabulary) float32 logits.
        """


class TorchSlab:
    """See `slab.Slab`. Nothing is allocated before the first line."""

    def __init__(self, decoder: RowDecoder, device: torch.device, dtype: torch.dtype, slots: int, tokens: int) -> None:
        """Args: slots: of a prefix at most. tokens: of a line at most, the end token counted."""
        self._decoder, self._device, self._dtype = decoder, device, dtype
        self._slots, self._tokens = slots, tokens
        self.rows, self.capacity, self.plenty = 0, ROWS, ROWS
        self._state: State = {}
        self._graph: torch.cuda.CUDAGraph | None = None
        self._positions = np.zeros(ROWS, np.int64)  # of the next token of each row
        self._lengths = np.zeros(ROWS, np.int64)  # positions that the caches hold

    def prefill(self, row: int, known: Mapping[str, Array], bos: int) -> npt.NDArray[np.float32]:
        """See `Slab.prefill`.

        Raises:
            ValueError: the prefix is larger than those that the engine was opened for.
        """
        slots = sum(known[name].shape[1] for name in _SLOTS)
        if slots > self._slots:
            raise ValueError(f"the map and what else is known take {slots} slots: there are {self._slots}")
        with GPU_TURN, torch.inference_mode():
            if not self._state:
                self._allocate()
            logits, length = self._decoder.begin(self._state, row, as_prefix(known, self._device, self._dtype), bos)
            found: npt.NDArray[np.float32] = logits.cpu().numpy()
        self._positions[row], self._lengths[row] = 1, length
        self.rows = max(self.rows, row + 1)
        return found

    def copy(self, source: int, target: int) -> None:
        """See `Slab.copy`."""
        with GPU_TURN, torch.inference_mode():
            for part in self._state.values():
                part[target].copy_(part[source])
        for numbers in (self._positions, self._lengths):
            numbers[target] = numbers[source]
        self.rows = max(self.rows, target + 1)

    def cut(self, rows: int) -> None:
        """See `Slab.cut`."""
        self.rows = rows

    def rest(self) -> None:
        """See `Slab.rest`. The memory is kept: the next line needs it, and nothing else on a GPU does."""

    def step(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """See `Slab.step`.

        Raises:
            ValueError: the decoder has no such token, or a line no further position. A GPU that finds that out by
                itself computes nothing more until the process ends.
        """
        rows = self.rows
        taken = np.zeros((3, ROWS), np.int64)
        taken[:, :rows] = tokens, self._positions[:rows], self._lengths[:rows]
        if not 0 <= taken[0].min() <= taken[0].max() < self._decoder.vocabulary:
            raise ValueError(f"one of the tokens {sorted(tokens)} is none of {self._decoder.vocabulary}")
        if self._decoder.grows and taken[1].max() >= self._tokens:
            raise ValueError(f"a line would have more than {self._tokens} tokens")
        with GPU_TURN, torch.inference_mode():
            self._taken.copy_(torch.from_numpy(taken))
            if self._graph is None:
                self._logits = self._decoder.advance_rows(self._state, self._taken)
            else:
                self._graph.replay()
            found: npt.NDArray[np.float32] = self._logits[:rows].cpu().numpy()
        self._positions[:rows] += 1
        self._lengths[:rows] += 1
        return found

    def _allocate(self) -> None:
        self._state = self._decoder.make_rows(ROWS, self._slots, self._tokens)
        self._taken = torch.zeros(3, ROWS, dtype=torch.int64, device=self._device)
        if self._device.type == "cuda":
            self._record()

    def _record(self) -> None:
        """Make the CUDA graph of a step. What it writes meanwhile into the rows, the first line writes over."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._decoder.advance_rows(self._state, self._taken)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._logits = self._decoder.advance_rows(self._state, self._taken)
        self._graph = graph


def as_prefix(known: Mapping[str, Array], device: torch.device, dtype: torch.dtype) -> Prefix:
    """The inputs of the prefix as a decoder in torch takes them; the map in its own precision."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in known.items()}
    return Prefix(**{**tensors, "map": tensors["map"].to(dtype)})
