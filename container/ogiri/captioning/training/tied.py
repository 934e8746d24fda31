"""The table of embeddings, which a decoder takes rows of and multiplies by at its end, kept once in its graph.

The exporter writes it twice, once as it is and once transposed for the product, and rounding to 8 bits makes only the
second one smaller: for an LSTM of 8,000 tokens that is 32 MB instead of 15, for a GPT-2 of 32,000 it is 224 instead of
126.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

ZERO = 128.0  # what MatMulNBits writes for 0 where it rounds symmetrically to 8 bits


def share_table(model: onnx.ModelProto) -> None:
    """Take rows out of the matrix of a product, as its columns, where that is the same table transposed."""
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    nodes = model.graph.node
    matrices = {name: weights[name] for n in nodes if n.op_type == "MatMul" and (name := n.input[1]) in weights}
    for name in sorted({n.input[0] for n in nodes if n.op_type == "Gather" and n.input[0] in weights}):
        table = numpy_helper.to_array(weights[name])
        for matrix in matrices.values():
            if tuple(matrix.dims) == table.shape[::-1] and np.array_equal(numpy_helper.to_array(matrix), table.T):
                _replace(model, name, partial(_columns, matrix.name, table.shape[1], model))
                _forget(model, name)
                break


def round_table(model: onnx.ModelProto, rounded: str, scales: str) -> None:
    """Take the rows that `share_table` takes out of a matrix out of what became of it.

    Args:
        model: its products are MatMulNBits with 8 bits, symmetric.
        rounded: what the name of a matrix is followed by in the name of its rounded values.
        scales: and in that of their scales.
    """
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    widths = {
        node.input[1].removesuffix(rounded): next(a.i for a in node.attribute if a.name == "K")
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
    }
    for name in sorted({n.input[0] for n in model.graph.node if n.op_type == "Gather"} & widths.keys()):
        _, blocks, block = weights[name + rounded].dims
        _replace(model, name, partial(_rounded, (name + rounded, name + scales), blocks * block, widths[name], model))
        _forget(model, name)


def _forget(model: onnx.ModelProto, name: str) -> None:
    places = [place for place, initializer in enumerate(model.graph.initializer) if initializer.name == name]
    for place in places:
        del model.graph.initializer[place]


def _replace(model: onnx.ModelProto, table: str, replacement: Callable[[NodeProto], Iterable[NodeProto]]) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        takes_rows = node.op_type == "Gather" and node.input[0] == table
        model.graph.node.extend(replacement(node) if takes_rows else [node])


def _columns(matrix: str, width: int, model: onnx.ModelProto, gather: NodeProto) -> list[NodeProto]:
    """Rows of the table as columns of the (width, rows) matrix."""
    chain = _Chain(gather, model)
    flat = chain("Reshape", gather.input[1], chain.constant([-1]))
    columns = chain("Gather", matrix, flat, axis=1)
    shape = chain("Concat", chain("Shape", gather.input[1]), chain.constant([width]), axis=0)
    rows = chain("Transpose", columns, perm=[1, 0])
    chain("Reshape", rows, shape, output=gather.output[0], allowzero=1)  # a step asks for no rows of the prefix
    return chain.nodes


def _rounded(
    names: tuple[str, str], padded: int, width: int, model: onnx.ModelProto, gather: NodeProto
) -> list[NodeProto]:
    """Columns of a rounded matrix, (width, columns): its values lie as (columns, blocks, block), one scale a block."""
    chain = _Chain(gather, model)
    rounded, scales = (chain("Gather", name, gather.input[1], axis=0) for name in names)
    centred = chain("Sub", chain("Cast", rounded, to=TensorProto.FLOAT), chain.constant(ZERO, np.float32))
    values = chain("Mul", centred, chain("Unsqueeze", scales, chain.constant([-1])))
    rows = chain("Reshape", values, chain.constant([0, padded]))
    whole = chain("Slice", rows, *(chain.constant([bound]) for bound in (0, width, 1)))
    chain("Transpose", whole, perm=[1, 0], output=gather.output[0])
    return chain.nodes


class _Chain:
    """Nodes that take the place of one, named after it."""

    def __init__(self, node: NodeProto, model: onnx.ModelProto) -> None:
        self.nodes: list[NodeProto] = []
        self._name, self._model, self._count = node.name or node.output[0], model, 0

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or self._new()
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}/{kind}", **attributes))
        return output

    def constant(self, value: object, dtype: type = np.int64) -> str:
        name = self._new()
        self._model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def _new(self) -> str:
        self._count += 1
        return f"{self._name}/tied.{self._count}"
