"""Rows of decoder state side by side in memory that the graph reads and writes in place.

A row is a line in progress. Rows 0 to `rows` are stepped together, whatever request each belongs to and whatever step
it is at. Nothing is copied from step to step: states of a fixed shape change between two arrays, and caches (keys and
values of GPT-2) are written by the graph where they lie. Only a line that branches, and one that takes the place of a
line that has ended, is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ogiri.captioning.serving.state import PAST, Array, State, StateEntry
from ogiri.machine import return_freed_memory

MAX_ROWS = 64
LEAST_ROWS = 2
"""A single line is stepped beside an empty row. The kernels for one row add up in another order, and with 8-bit
activations that is enough to change a token once in a while: a seed would then not fix a line."""

MIN_ROWS = 32  # as many as the candidates of one request, whatever they need
MAX_BYTES = 1 << 30  # of state; a row of GPT-2 medium has 27 MB
KEPT_BYTES = 16 << 20  # more than that is given back by a rest
GROWTH = 32  # positions by which a cache is made longer

_PREFIX = {"map": 2, "label_pieces": 2, "label_confidence": 1, "text_pieces": 1, "controls": 1}  # axes behind the rows


class Slab:
    """The state of up to `capacity` lines, and the step that takes them all one token further."""

    def __init__(
        self,
        session: Any,
        entries: Sequence[StateEntry],
        channels: int,
        vocabulary: int,
        tokens: int,
        known: int = 0,
        plenty: int = MAX_ROWS,
    ) -> None:
        """Nothing is allocated before the first line.

        Args:
            session: of the decoder's graph.
            entries: its state.
            channels: of the encoder's map.
            vocabulary: tokens.
            tokens: of a line, so that caches need not grow while lines are written.
            known: labels and pieces of text of the longest prefix, to which all are filled up: else a row could depend,
                in its last bits, on how long the prefixes beside it are.
            plenty: see `interface.LineRows`.
        """
        self.plenty = plenty
        self._session, self._entries, self._channels, self._tokens = session, tuple(entries), channels, tokens
        self._vocabulary, self._known = vocabulary, known
        self.rows = 0
        self.capacity = MAX_ROWS
        self._arrays: dict[str, list[Array]] = {}  # one each, or two that take turns
        self._bindings: dict[tuple[int, int], Any] = {}
        self._turn = self._used = self._prefills = self._row_bytes = 0
        self._lengths = np.zeros(MAX_ROWS, np.int64)  # positions that the caches hold
        self._starts = np.zeros(MAX_ROWS, np.int64)  # of them, those that prefill made
        self._prefixes = np.zeros(MAX_ROWS, np.int64)  # which prefill a row comes from, counted from 1

    def prefill(self, row: int, known: Mapping[str, Array], bos: int) -> npt.NDArray[np.float32]:
        """Begin a line in this row: one that is there, or the next.

        Args:
            row: its place.
            known: the inputs of the prefix, (1, …) each.
            bos: the begin token.

        Returns:
            (1, vocabulary) logits of the first token.
        """
        longest = 1 + sum(known[name].shape[1] for name in _PREFIX)
        if not self._arrays:
            self._allocate(longest, known["map"].shape[1] + self._known)
        caches = {}
        for entry in self._entries:
            if entry.grows:
                if self._current(entry).shape[entry.axis] < longest + self._tokens:
                    self._lengthen(entry, longest + self._tokens)
                caches[entry.name] = self._current(entry)[row : row + 1]
        state = {entry.name: caches.get(entry.name, entry.start(1)) for entry in self._entries}
        inputs = {"tokens": np.array([[bos]]), **known, **state}
        binding = self._session.io_binding()
        _bind(binding.bind_input, inputs)
        copied = ["logits", *(f"next.{name}" for name in state if name not in caches)]
        for name in copied:
            binding.bind_output(name)
        _bind(binding.bind_output, {f"next.{name}": array for name, array in caches.items()})
        self._session.run_with_iobinding(binding)
        found = {name: value.numpy() for name, value in zip(copied, binding.get_outputs(), strict=False)}
        for entry in self._entries:
            if not entry.grows:
                self._put(entry, row, found[f"next.{entry.name}"][0])
        self._prefills += 1
        self._prefixes[row] = self._prefills
        self._starts[row] = self._lengths[row] = int(found[f"next.{PAST}"][0]) if caches else 0
        self._count(row)
        logits: npt.NDArray[np.float32] = found["logits"][:, -1]
        return logits

    def copy(self, source: int, target: int) -> None:
        """Let one row be as another; `target` is there, or the next."""
        alike = self._prefixes[source] == self._prefixes[target]
        part = slice(int(self._starts[source]) if alike else 0, int(self._lengths[source]))
        for entry in self._entries:
            array = self._current(entry)
            if entry.grows:
                array[target, :, part] = array[source, :, part]
            elif not (entry.constant and alike):
                array[target] = array[source]
        for numbers in (self._prefixes, self._starts, self._lengths):
            numbers[target] = numbers[source]
        self._count(target)

    def cut(self, rows: int) -> None:
        """Forget all rows from this one on."""
        self._prefixes[rows : self.rows] = 0
        self.rows = rows

    def rest(self) -> None:
        """Give memory back while there is no row; getting it again takes a few milliseconds a row."""
        if not self.rows and self._used * self._row_bytes > KEPT_BYTES:
            self._free()
            return_freed_memory()

    def step(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """One more token for each row.

        Args:
            tokens: (rows,) the one that was chosen for each.

        Returns:
            (rows, vocabulary) logits of the token after. The memory is used again by the next step.
        """
        rows = self.rows
        longest = int(self._lengths[:rows].max()) + 1
        for entry in self._entries:
            if entry.grows and self._current(entry).shape[entry.axis] < longest:
                self._lengthen(entry, longest)
        self._input[:rows, 0] = tokens
        if rows < LEAST_ROWS:
            self._clear(rows)
        self._session.run_with_iobinding(self._binding(max(rows, LEAST_ROWS)))
        self._turn = 1 - self._turn
        self._lengths[:rows] += 1
        logits: npt.NDArray[np.float32] = self._logits[:rows, -1]
        return logits

    def _free(self) -> None:
        self._arrays.clear()
        self._bindings.clear()
        self._used = 0

    def _count(self, row: int) -> None:
        self.rows = max(self.rows, row + 1)
        self._used = max(self._used, self.rows)

    def _allocate(self, longest: int, slots: int) -> None:
        self._row_bytes = 0
        for entry in self._entries:
            shape = list(entry.shape)
            if entry.grows:
                shape[entry.axis - 1] = _rounded(longest + self._tokens)
            elif 0 in shape:
                shape[entry.axis - 1] = slots
            # The system gives memory only to rows that are written to.
            made = [np.zeros((MAX_ROWS, *shape), entry.dtype) for _ in range(2 if self._takes_turns(entry) else 1)]
            self._arrays[entry.name] = made
            self._row_bytes += sum(array.nbytes for array in made) // MAX_ROWS
        self.capacity = min(MAX_ROWS, max(MIN_ROWS, MAX_BYTES // max(1, self._row_bytes)))
        self._input = np.zeros((MAX_ROWS, 1), np.int64)
        self._logits = np.empty((MAX_ROWS, 1, self._vocabulary), np.float32)

    def _put(self, entry: StateEntry, row: int, value: Array) -> None:
        array = self._current(entry)
        if 0 not in entry.shape:
            array[row] = value
            return
        axis = entry.axis
        if value.shape[axis - 1] > array.shape[axis]:
            array = self._lengthen(entry, value.shape[axis - 1])
        array[row] = entry.padding
        array[row][_corner(value)] = value

    def _clear(self, row: int) -> None:
        """Let this row, and those up to `LEAST_ROWS`, be at a start that costs nothing and disturbs nobody."""
        self._input[row:LEAST_ROWS] = 0
        for entry in self._entries:
            if self._takes_turns(entry):
                self._current(entry)[row:LEAST_ROWS] = 0

    def _takes_turns(self, entry: StateEntry) -> bool:
        return not (entry.constant or entry.grows)

    def _current(self, entry: StateEntry) -> Array:
        arrays = self._arrays[entry.name]
        current: Array = arrays[self._turn % len(arrays)]
        return current

    def _lengthen(self, entry: StateEntry, length: int) -> Array:
        old = self._current(entry)
        shape = list(old.shape)
        shape[entry.axis] = _rounded(length)
        new = np.full(shape, entry.padding, entry.dtype) if entry.constant else np.zeros(shape, entry.dtype)
        new[_corner(old[: self.rows])] = old[: self.rows]
        self._arrays[entry.name] = [new]
        self._bindings.clear()
        return new

    def _binding(self, rows: int) -> Any:
        key = rows, self._turn
        if key not in self._bindings:
            self._bindings[key] = self._bound(rows)
        return self._bindings[key]

    def _bound(self, rows: int) -> Any:
        """Where the graph reads and writes, for so many rows at this turn."""
        binding = self._session.io_binding()
        inputs: State = {"tokens": self._input[:rows]}
        outputs: State = {"logits": self._logits[:rows]}
        for name, axes in _PREFIX.items():
            shape = (rows, 0, self._channels) if name == "map" else (rows, *[0] * axes)
            inputs[name] = np.empty(shape, np.float32 if name == "map" else np.int64)
        for entry in self._entries:
            arrays = self._arrays[entry.name]
            inputs[entry.name] = arrays[self._turn % len(arrays)][:rows]
            if not entry.constant:
                outputs[f"next.{entry.name}"] = arrays[(1 - self._turn) % len(arrays)][:rows]
        _bind(binding.bind_input, inputs)
        _bind(binding.bind_output, outputs)
        return binding


def _bind(bind: Any, arrays: Mapping[str, Array]) -> None:
    """Let the graph read or write these arrays where they lie; somebody else must keep them alive."""
    for name, array in arrays.items():
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _corner(part: Array) -> tuple[slice, ...]:
    """Where an array lies in a larger one."""
    return tuple(slice(size) for size in part.shape)


def _rounded(positions: int) -> int:
    return -(-positions // GROWTH) * GROWTH
