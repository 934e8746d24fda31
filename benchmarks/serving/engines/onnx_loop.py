"""The graph of our artifact in a plain loop: what is left of a step without the rules of a line."""

from __future__ import annotations

import numpy as np

from benchmarks.serving.engines.turn import TEMPERATURE, Asked, take_turns
from benchmarks.serving.peers.graphs import Graphs
from benchmarks.serving.peers.lines import draw
from ogiri.captioning.serving.engine import graph_bytes


class Loop:
    """See `turn.Writer`."""

    def __init__(self, asked: Asked) -> None:
        self._graphs, self._random = Graphs(asked.base / "model", asked.threads), np.random.default_rng()
        self._map = self._graphs.encode(np.full((1, self._graphs.size, self._graphs.size, 3), 128, np.uint8))
        self.weight_bytes = graph_bytes(asked.base / "model/decoder.onnx")

    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`."""
        logits, state = self._graphs.prefill_map(self._map)
        logits = np.repeat(logits, sequences, 0)
        state = {name: np.repeat(array, sequences, 0) for name, array in state.items()}
        temperatures = np.full(sequences, TEMPERATURE, np.float32)
        written = np.empty((sequences, 0), np.int64)
        for number in range(tokens):
            if number:
                logits, state = self._graphs.step(written[:, -1], state)
            written = np.concatenate([written, draw(logits, written, temperatures, self._random)[:, None]], 1)
        return written.shape[1]

    def first(self) -> None:
        """See `Writer.first`."""


if __name__ == "__main__":
    take_turns(Loop(Asked.read()))
