"""The model that a peer's server loads, as its environment says."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.serving.peers.lines import Model

BASE, MODEL, SHAPE, PORT, THREADS = "PEER_BASE", "PEER_MODEL", "PEER_SHAPE", "PEER_PORT", "PEER_THREADS"
ONNX, TORCH = "onnx", "torch"
MAX_BATCH = 16
BATCH_SECONDS = 0.01
"""How long a first request waits for others, where the peer does not find out by itself: under 5 % of a line's time."""
TIMEOUT_SECONDS = 60


def open_model() -> Model:
    """The model of the variables `PEER_BASE`, `PEER_MODEL` (onnx or torch), `PEER_SHAPE` and `PEER_THREADS`."""
    base, threads = Path(os.environ[BASE]), int(os.environ[THREADS])
    if os.environ[MODEL] == ONNX:
        from benchmarks.serving.peers.graphs import Graphs

        return Graphs(base / "model", threads)
    import torch  # seconds to import, and the other way must not pay for it

    from benchmarks.serving.peers.weights import Weights
    from benchmarks.serving.shapes import SHAPES

    torch.set_num_threads(threads)
    return Weights(base, SHAPES[os.environ[SHAPE]])
