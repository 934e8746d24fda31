"""Our engine as it is served: candidates of one picture, whose map is made already, under all rules of a line."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.serving.engines.turn import Asked, take_turns
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.serving.engine import graph_bytes
from ogiri.captioning.serving.parameters import Parameters


class Ogiri:
    """See `turn.Writer`."""

    def __init__(self, asked: Asked) -> None:
        folder = asked.base / "model"
        manifest = json.loads((folder / "manifest.json").read_text())
        self._captioner = open_captioner(folder, manifest)
        size = manifest["preprocessing"]["size"]
        self._map = self._captioner.engine.encode(np.full((1, size, size, 3), 128, np.uint8))
        self._decoding = self._captioner.decoding()  # kept, as the thread that decodes for `serve` does
        self._conditions = self._captioner.conditions((), "")
        self.weight_bytes = graph_bytes(folder / manifest["decoding"]["decoder_graph"])

    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`."""
        parameters = Parameters(num_candidates=sequences, min_length=tokens, max_length=tokens)
        writing = self._captioner.writing(self._map, self._conditions, parameters)
        self._decoding.add(writing)
        while self._decoding.tasks:
            for ended in self._decoding.step():
                if ended.error is not None:
                    raise ended.error
        return min(len(caption.tokens) for caption in writing.search.captions())

    def first(self) -> None:
        """See `Writer.first`."""


if __name__ == "__main__":
    take_turns(Ogiri(Asked.read()))
