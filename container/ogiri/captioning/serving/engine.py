"""The two graphs of a caption artifact on ONNX Runtime: picture → map, and token by token → logits.

`docs/architecture.md` has the graphs' contract. Sessions may be used by several threads at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.serving.slab import MAX_ROWS, Slab
from ogiri.captioning.serving.state import PAST, Array, State, StateEntry
from ogiri.captioning.serving.turns import Turns
from ogiri.machine import available_processors, resident_bytes, return_freed_memory

Floats = npt.NDArray[np.float32]

SMALL_BYTES = 64 << 20
"""Below, waking a second thread costs more than it brings: an LSTM of 13 MB writes 58 lines a second with one thread
and 51 with two, whether one caller asks or four; MobileNetV2 takes 8.5 ms with one, on a busy machine 10.7 with two."""

SPIN_MICROSECONDS = 200
"""How long a thread waits for the next operator before it sleeps. Those of one step come sooner, and waking takes long:
a step of GPT-2 medium takes 17 ms instead of 21. Threads that spin for as long as they like take the processor from a
neighbour, and suffer from one: 11.7 → 58 ms a step."""

SMALL_ROWS = 12
"""Lines of a small decoder that are stepped together, the others wait for a place. Up to here each more makes a step
cheaper a line; beyond, it makes the step as much longer, and so long lines late. Means of three turns of an LSTM, lines
a second and the slowest of a hundred in ms, at 16 callers: with 8 rows 50 and 631, 12: 59 and 632, 16: 56 and 717; at
64 callers with 12 rows 49 and 1,742, 16: 57 and 1,582, 64: 57 and 2,707, on a machine that varies by a fifth."""

_ERRORS_ONLY = 3
_ort: Any = onnxruntime  # without type hints, and mypy sees none of what it re-exports


class Engine:
    """Runs the graphs. Without an encoder it takes maps that were made before, as training does.

    Attributes:
        plenty: lines that are worth stepping together, see `interface.LineRows`.
    """

    def __init__(
        self, decoder: Path, state: Sequence[StateEntry], encoder: Path | None = None, threads: int | None = None
    ) -> None:
        """Load the graphs.

        Args:
            decoder: `decoder.onnx`.
            state: what it carries from step to step.
            encoder: `encoder.onnx`.
            threads: of a running graph; by default as many as the container has processors, and one for a graph that is
                too small to gain from a second. Large batches gain: evaluation should say a number.

        Raises:
            ValueError: a file is no graph, or not one of this contract; the message names it.
        """
        self._entries = tuple(state)
        resident = resident_bytes()
        encoder_threads = threads or _threads(encoder)
        with ThreadPoolExecutor(1, "load") as pool:  # each is read and laid out by one thread
            beside = None if encoder is None else pool.submit(open_session, encoder, encoder_threads)
            self._decoder = open_session(decoder, threads or _threads(decoder), keep_memory=False)
        self.plenty = SMALL_ROWS if _is_small(decoder) else MAX_ROWS
        self._encoder = None if beside is None else beside.result()
        self._encoding = Turns(max(1, available_processors() // encoder_threads))
        self._giving_back = _ort.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return_freed_memory()
        file_bytes = sum(graph_bytes(path) for path in (decoder, encoder) if path is not None)
        self._memory_bytes = min(max(resident_bytes() - resident, file_bytes), 3 * file_bytes)
        _check_names(decoder, self._decoder, [entry.name for entry in self._entries])
        if self.grows and PAST not in {entry.name for entry in self._entries}:
            raise ValueError(f"{decoder} has caches, and no state {PAST} that says how much of them is used")
        self.channels = _last_dimension(decoder, self._decoder.get_inputs(), "map")
        self.vocabulary = _last_dimension(decoder, self._decoder.get_outputs(), "logits")
        self._outputs = ["logits", *(f"next.{entry.name}" for entry in self._entries)]

    @property
    def grows(self) -> bool:
        """Whether the state gets longer with every step."""
        return any(entry.grows for entry in self._entries)

    def encode(self, pictures: npt.NDArray[np.uint8], *, keep_memory: bool = True) -> Floats:
        """Feature maps of pictures.

        Args:
            pictures: (batch, size, size, 3) RGB.
            keep_memory: what this run took waits for the next.

        Returns:
            (batch, cells, channels).
        """
        if self._encoder is None:
            raise RuntimeError("this engine was loaded without an encoder: give it maps")
        with self._encoding:  # more at a time only take the processors from each other, and from the decoder
            options = None if keep_memory else self._giving_back
            maps: Floats = self._encoder.run(["map"], {"picture": pictures}, options)[0]
        return maps

    def prefill(self, maps: npt.NDArray[Any] | None, conditions: Conditions, bos: int) -> tuple[Floats, State]:
        """Take in all that is known, and the begin token.

        Args:
            maps: (batch, cells, channels), a single row for all, or None where there is no picture.
            conditions: as `stack_conditions` makes them, (batch, …).
            bos: the begin token.

        Returns:
            (batch, vocabulary) logits of the first token, and the state.
        """
        batch = len(conditions.label_confidence)
        state = {entry.name: entry.start(batch) for entry in self._entries}
        return self._run(np.full(batch, bos), self.known(maps, conditions), state)

    def known(self, maps: npt.NDArray[Any] | None, conditions: Conditions) -> dict[str, Array]:
        """The inputs of the prefix; the arguments are those of `prefill`."""
        return {
            "map": self._maps(maps, len(conditions.label_confidence)),
            "label_pieces": conditions.label_pieces,
            "label_confidence": conditions.label_confidence,
            "text_pieces": conditions.text_pieces,
            "controls": conditions.controls,
        }

    def step(self, tokens: npt.NDArray[np.int64], state: State) -> tuple[Floats, State]:
        """One more token a row, for rows that were prefilled together; `slab` has those of different lines.

        Args:
            tokens: (rows,) the token that was chosen for each.
            state: of the step before.

        Returns:
            (rows, vocabulary) logits of the token after, and the state with this one.
        """
        rows = len(tokens)
        nothing = {
            "map": np.zeros((rows, 0, self.channels), np.float32),
            "label_pieces": np.zeros((rows, 0, 0), np.int64),
            **{name: np.zeros((rows, 0), np.int64) for name in ("label_confidence", "text_pieces", "controls")},
        }
        logits, after = self._run(tokens, nothing, state)
        return logits, after | {entry.name: state[entry.name] for entry in self._entries if entry.constant}

    def slab(self, tokens: int, known: int = 0) -> Slab:
        """Memory for lines that are stepped together.

        Args:
            tokens: of a line.
            known: labels and pieces of text of a prefix at most; the cells of a picture come on top.
        """
        return Slab(self._decoder, self._entries, self.channels, self.vocabulary, tokens, known, self.plenty)

    def _run(self, tokens: npt.NDArray[np.int64], known: dict[str, Any], state: State) -> tuple[Floats, State]:
        logits, *arrays = self._decoder.run(self._outputs, {"tokens": tokens.reshape(-1, 1), **known, **state})
        return logits[:, -1], {entry.name: array for entry, array in zip(self._entries, arrays, strict=True)}

    def memory_bytes(self) -> int:
        """What the process grew by while the graphs were loaded, within 1 to 3 times the size of their files.

        The bounds keep out what other threads did meanwhile.
        """
        return self._memory_bytes

    def _maps(self, maps: npt.NDArray[Any] | None, batch: int) -> Floats:
        if maps is None:
            return np.zeros((batch, 0, self.channels), np.float32)
        single = np.ascontiguousarray(maps, np.float32)
        return np.repeat(single, batch, axis=0) if len(single) == 1 else single


def weights_file(graph: Path) -> Path:
    """Where the weights of a graph lie that do not lie in itself, if it has such ones."""
    return graph.with_name(f"{graph.name}.data")


def graph_bytes(graph: Path) -> int:
    """Bytes of a graph, and of its weights where they lie beside it."""
    return sum(path.stat().st_size for path in (graph, weights_file(graph)) if path.is_file())


def _threads(graph: Path | None) -> int:
    return 1 if graph is not None and _is_small(graph) else available_processors()


def _is_small(graph: Path) -> bool:
    return graph.is_file() and graph_bytes(graph) < SMALL_BYTES


def open_session(graph: Path | bytes, threads: int, *, keep_memory: bool = True) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, of a file or of what stands in one.

    Args:
        graph: its file, or what stands in it.
        threads: of a run.
        keep_memory: what one run took waits for the next. Without it weights take no more than their size, and a run
            asks the system for every array above `machine.LARGE_BYTES`, which an encoder has and a decoder has not.

    Raises:
        ValueError: the file is no graph.
    """
    options = _ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = _ort.ExecutionMode.ORT_SEQUENTIAL  # there is nothing to run side by side
    options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = keep_memory
    options.enable_mem_pattern = False  # patterns are kept for each shape, and batches here have many
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    try:
        return _ort.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime has an exception class a status, and none of their own above them
        raise ValueError(
            f"{'the graph' if isinstance(graph, bytes) else graph} cannot be loaded as a graph: {error}"
        ) from error


def _check_names(graph: Path, session: Any, state: list[str]) -> None:
    wanted = {"tokens", "map", "label_pieces", "label_confidence", "text_pieces", "controls", *state}
    found = {value.name for value in session.get_inputs()}
    if found != wanted:
        raise ValueError(f"{graph} takes {sorted(found)}, the manifest says {sorted(wanted)}")
    given = {value.name for value in session.get_outputs()}
    missing = {"logits", *(f"next.{name}" for name in state)} - given
    if missing:
        raise ValueError(f"{graph} does not give {sorted(missing)}, which the manifest says")


def _last_dimension(graph: Path, values: Sequence[Any], name: str) -> int:
    size = next(value.shape[-1] for value in values if value.name == name)
    if not isinstance(size, int):
        raise ValueError(f"{graph}: the last dimension of {name} is {size!r}, it must be a number")
    return size
