"""A graph on disk, with its large weights in a file of their own beside it, as ONNX knows it.

ONNX Runtime maps that file and lays the weights out anew from there. What stands in the graph itself it reads into
memory and copies once more before it does: GPT-2 medium in 8 bits is open after half a second of a processor instead of
nine tenths, and takes 440 MB meanwhile instead of 560.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import NodeProto
from onnx.external_data_helper import set_external_data

from ogiri.captioning.serving.engine import weights_file

LARGE_BYTES = 1 << 18
PAGE_BYTES = 4096  # each begins with a page

_LAID_OUT_ANEW = frozenset({"Conv", "Gemm", "MatMul", "MatMulNBits"})
"""Operators that keep a copy of their weights in an order of their own. What others read would stay mapped, so that the
answers changed with the file."""

_WEIGHTS = 1  # the place among their inputs


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, and beside it its large weights, if it has such ones; `model` loses these."""
    weights = weights_file(path)
    weights.unlink(missing_ok=True)  # ONNX would write behind what is there
    names = _apart(model.graph)
    end = 0
    for tensor in model.graph.initializer:
        if tensor.name in names and len(tensor.raw_data) >= LARGE_BYTES:
            begin = -(-end // PAGE_BYTES) * PAGE_BYTES
            set_external_data(tensor, weights.name, begin)
            end = begin + len(tensor.raw_data)
    onnx.save(model, path)
    if end:
        shutil.copymode(path, weights)  # ONNX makes it for its own user alone


def _apart(graph: onnx.GraphProto) -> set[str]:
    """Weights that one node alone reads, and lays out anew."""
    readers = Counter(name for node in _every_node(graph) for name in node.input)
    weights = {node.input[_WEIGHTS] for node in graph.node if node.op_type in _LAID_OUT_ANEW}
    return {name for name in weights if readers[name] == 1}


def _every_node(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _every_node(attribute.g)
