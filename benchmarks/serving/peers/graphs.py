"""The graphs of an artifact on ONNX Runtime, with the session options of `serve`.

`docs/architecture.md` has the graphs' contract.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.serving.peers.lines import Floats, Ints
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.engine import SMALL_BYTES, graph_bytes, open_session

CONTROLS = 2


class Graphs:
    """See `lines.Model`; the state is what the graph gave, name → array."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        decoding = manifest["decoding"]
        processors = threads or len(os.sched_getaffinity(0))
        decoder = folder / decoding["decoder_graph"]
        small = graph_bytes(decoder) < SMALL_BYTES
        # A peer encodes a whole batch at a time, so that a small encoder too gains from a second thread here.
        self._encoder = open_session(folder / decoding["encoder_graph"], processors)
        self._decoder = open_session(decoder, 1 if small else processors)
        self._entries = decoding["state"]
        self._changing = [entry["name"] for entry in self._entries if not entry["constant"]]
        self._caches = [entry["name"] for entry in self._entries if 0 in entry["shape"] and not entry["constant"]]
        self._max_tokens: int = decoding["max_tokens"]
        self._channels = next(each.shape[-1] for each in self._decoder.get_inputs() if each.name == "map")
        self.size: int = manifest["preprocessing"]["size"]
        self.tokenizer = Tokenizer((folder / manifest["tokenizer"]["file"]).read_bytes())

    def prefill(self, pictures: npt.NDArray[np.uint8]) -> tuple[Floats, dict[str, Any]]:
        """See `Model.prefill`."""
        return self.prefill_map(self.encode(pictures))

    def encode(self, pictures: npt.NDArray[np.uint8]) -> Floats:
        """(batch, size, size, 3) → (batch, cells, channels)."""
        maps: Floats = self._encoder.run(["map"], {"picture": pictures})[0]
        return maps

    def prefill_map(self, maps: Floats) -> tuple[Floats, dict[str, Any]]:
        """See `Model.prefill`, from maps. Caches get room for the longest line at once."""
        batch, cells = maps.shape[:2]
        feeds = {
            **self._prefix(batch),
            "tokens": np.full((batch, 1), self.tokenizer.bos, np.int64),
            "map": maps,
            "controls": np.zeros((batch, CONTROLS), np.int64),
        }
        room = cells + CONTROLS + 1 + self._max_tokens
        state = {}
        for entry in self._entries:
            shape = [room if size == 0 and not entry["constant"] else size for size in entry["shape"]]
            state[entry["name"]] = np.zeros((batch, *shape), entry["dtype"])
        return self._run(feeds, state, [entry["name"] for entry in self._entries])

    def step(self, tokens: Ints, state: dict[str, Any]) -> tuple[Floats, dict[str, Any]]:
        """See `Model.step`."""
        return self._run({**self._prefix(len(tokens)), "tokens": tokens[:, None]}, state, self._changing)

    def _run(self, feeds: dict[str, Any], state: dict[str, Any], wanted: list[str]) -> tuple[Floats, dict[str, Any]]:
        """The graph writes caches where they lie; the rest of the state comes anew."""
        binding = self._decoder.io_binding()
        held = {name: np.ascontiguousarray(array) for name, array in {**feeds, **state}.items()}
        for name, array in held.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        fresh = ["logits", *(f"next.{name}" for name in wanted if name not in self._caches)]
        for name in fresh:
            binding.bind_output(name)
        for name in self._caches:
            array = held[name]
            binding.bind_output(f"next.{name}", "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._decoder.run_with_iobinding(binding)
        logits, *arrays = (value.numpy() for value in binding.get_outputs()[: len(fresh)])
        named = {name.removeprefix("next."): array for name, array in zip(fresh[1:], arrays, strict=True)}
        return logits[:, -1], {**{name: held[name] for name in state}, **named}

    def _prefix(self, batch: int) -> dict[str, Any]:
        return {
            "map": np.zeros((batch, 0, self._channels), np.float32),
            "label_pieces": np.zeros((batch, 0, 0), np.int64),
            "label_confidence": np.zeros((batch, 0), np.int64),
            "text_pieces": np.zeros((batch, 0), np.int64),
            "controls": np.zeros((batch, 0), np.int64),
        }
