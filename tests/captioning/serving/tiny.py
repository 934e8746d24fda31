"""A caption artifact in small: two graphs with random weights that keep the contract of docs/architecture.md.

The decoder's state has one of each kind: `hidden` varies, `context` is constant, `memory` is constant and as long as
the prefix.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ogiri.artifact import write_manifest
from ogiri.captioning.model.controls import LEVELS, control_starts
from ogiri.captioning.serving.state import StateEntry

SIZE, CELLS, CHANNELS, WIDTH = 8, 4, 5, 16
EDGES = [50.0, 90.0]
STATE = (
    StateEntry("hidden", (WIDTH,)),
    StateEntry("context", (WIDTH,), constant=True),
    StateEntry("memory", (0, WIDTH), constant=True),
)


class Graph:
    """Nodes and weights as they are added."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self._random.standard_normal(shape) * scale, np.float32)

    def save(self, path: Path, inputs: list[Any], outputs: list[Any]) -> None:
        values = [[helper.make_tensor_value_info(n, t, s) for n, t, s in side] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "tiny", *values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def save_encoder(path: Path, seed: int = 0) -> None:
    g = Graph(seed)
    x = g("Cast", "picture", to=TensorProto.FLOAT)
    x = g("Div", x, g.constant(255.0, np.float32))
    x = g("Reshape", x, g.constant([0, CELLS, SIZE * SIZE * 3 // CELLS]))
    g("Tanh", g("MatMul", x, g.weight(SIZE * SIZE * 3 // CELLS, CHANNELS, scale=0.3)), output="map")
    g.save(
        path,
        [("picture", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [("map", TensorProto.FLOAT, ["batch", CELLS, CHANNELS])],
    )


def save_decoder(path: Path, vocabulary: int, seed: int = 0, sharpness: float = 1.0) -> None:
    """Args: sharpness: scale of the logits; the greater, the surer the decoder is."""
    g = Graph(seed)
    embedding = g.weight(vocabulary, WIDTH, scale=0.7)

    def mean(slots: str) -> str:
        return g("Tanh", g("ReduceSum", slots, g.constant([1]), keepdims=0))

    def embedded(pieces: str) -> str:
        """Embeddings, zeros for padding."""
        known = g("Cast", g("GreaterOrEqual", pieces, g.constant(0)), to=TensorProto.FLOAT)
        rows = g("Gather", embedding, g("Max", pieces, g.constant(0)))
        return g("Mul", rows, g("Unsqueeze", known, g.constant([-1])))

    cells = g("MatMul", "map", g.weight(CHANNELS, WIDTH))
    names = g("ReduceSum", embedded("label_pieces"), g.constant([2]), keepdims=0)
    labels = g("Add", names, g("Gather", g.weight(len(EDGES) + 2, WIDTH), "label_confidence"))
    slots = g("Concat", cells, labels, embedded("text_pieces"), axis=1)
    memory = g("Concat", "memory", slots, output="next.memory", axis=1)
    count = g("Gather", g("Shape", "controls"), g.constant([1]))  # none at a step
    starts = g("Slice", g.constant(control_starts()), g.constant([0]), count)
    table = g.weight(sum(LEVELS) + len(LEVELS), WIDTH)
    asked = g("ReduceSum", g("Gather", table, g("Add", "controls", starts)), g.constant([1]), keepdims=0)
    context = g("Add", g("Add", "context", mean(slots)), asked, output="next.context")

    word = g("Squeeze", g("Gather", embedding, "tokens"), g.constant([1]))
    before = g("Add", g("MatMul", "hidden", g.weight(WIDTH, WIDTH)), word)
    hidden = g("Tanh", g("Add", before, context), output="next.hidden")
    query = g("Unsqueeze", hidden, g.constant([1]))
    size = g("ReduceSum", g("Abs", memory), g.constant([2]), keepdims=0)
    empty = g("Cast", g("Equal", size, g.constant(0.0, np.float32)), to=TensorProto.FLOAT)  # padding
    hidden_by = g("Mul", g("Unsqueeze", empty, g.constant([1])), g.constant(-1e4, np.float32))
    scores = g("Add", g("MatMul", query, g("Transpose", memory, perm=[0, 2, 1])), hidden_by)
    attention = g("Softmax", scores, axis=-1)
    seen = g("Add", query, g("MatMul", attention, memory))
    g("MatMul", seen, g.weight(WIDTH, vocabulary, scale=sharpness), output="logits")

    float_, int_ = TensorProto.FLOAT, TensorProto.INT64
    g.save(
        path,
        [
            ("tokens", int_, ["batch", 1]),
            ("map", float_, ["batch", "cells", CHANNELS]),
            ("label_pieces", int_, ["batch", "labels", "pieces"]),
            ("label_confidence", int_, ["batch", "labels"]),
            ("text_pieces", int_, ["batch", "text"]),
            ("controls", int_, ["batch", "controls"]),
            ("hidden", float_, ["batch", WIDTH]),
            ("context", float_, ["batch", WIDTH]),
            ("memory", float_, ["batch", "past", WIDTH]),
        ],
        [
            ("logits", float_, ["batch", 1, vocabulary]),
            ("next.hidden", float_, ["batch", WIDTH]),
            ("next.context", float_, ["batch", WIDTH]),
            ("next.memory", float_, ["batch", "slots", WIDTH]),
        ],
    )


def manifest(vocabulary: int, **decoding: Any) -> dict[str, Any]:
    return {
        "task": "caption",
        "name": "tiny",
        "preprocessing": {
            "size": SIZE,
            "max_labels": 3,
            "max_label_pieces": 4,
            "max_text_pieces": 6,
            "confidence_edges": EDGES,
        },
        "tokenizer": {"file": "tokenizer.model", "vocabulary": vocabulary, "bos": 1, "eos": 2},
        "decoding": {
            "decoder": "lstm",
            "encoder_graph": "encoder.onnx",
            "decoder_graph": "decoder.onnx",
            "state": [
                {"name": e.name, "shape": list(e.shape), "dtype": e.dtype, "constant": e.constant} for e in STATE
            ],
            "max_tokens": 24,
            "controls": {"score": [1.0, 2.0, 3.0, 4.0], "length": [6.0, 12.0]},
            "defaults": {},
            **decoding,
        },
    }


def write_artifact(folder: Path, tokenizer_model: bytes, vocabulary: int, seed: int = 0, **decoding: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(tokenizer_model)
    save_encoder(folder / "encoder.onnx", seed)
    save_decoder(folder / "decoder.onnx", vocabulary, seed)
    fields = json.loads(json.dumps(manifest(vocabulary, **decoding)))
    write_manifest(folder, fields)
    return folder
