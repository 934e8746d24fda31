"""The part of a decoder's graph that only prefill needs, behind a condition.

A step is given an empty prefix, and would run the fifty to eighty nodes that read it for nothing: half the time of an
LSTM's step for one line. `If` runs them where there is a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ogiri.captioning.serving.engine import open_session

Array = npt.NDArray[Any]

PREFIX = ("map", "label_pieces", "label_confidence", "text_pieces", "controls")
TOLD_BY = "controls"  # always there at prefill, never at a step
INNER = "/prefill"


def branch_prefix(model: onnx.ModelProto) -> None:
    """Put what depends on the prefix and on nothing else of a request into the first branch of an `If`.

    The second branch gives what the first gives for an empty prefix, found by running it.
    """
    graph = model.graph
    inner = _prefix_nodes(graph)
    _give_only_once(graph, inner)
    while True:
        names = {name for node in inner for name in node.output}
        outer = [node for node in graph.node if not any(name in names for name in node.output)]
        wanted = {name for node in outer for name in node.input} | {value.name for value in graph.output}
        crossing = [name for node in inner for name in node.output if name in wanted]
        if not crossing:
            return
        empty = _of_empty_prefix(model, crossing)
        if len(empty) == len(crossing):
            break
        # What is no row, but a size for example, is found out outside, for both branches.
        inner = [node for node in inner if all(name in empty or name not in crossing for name in node.output)]
    helped = _Names(graph)
    batch = helped.node("Gather", helped.node("Shape", "tokens"), helped.constant([0]), axis=0)
    some = helped.node("Gather", helped.node("Shape", TOLD_BY), helped.constant(1), axis=0)
    condition = helped.node("Greater", some, helped.constant(0))
    for node in inner:
        node.input[:] = [name + INNER if name in names else name for name in node.input]
        node.output[:] = [name + INNER for name in node.output]
    then = helper.make_graph(inner, "prefill", [], [_value(name + INNER, empty[name]) for name in crossing])
    otherwise = _constants(crossing, empty, batch)
    branch = helper.make_node("If", [condition], crossing, "prefix", then_branch=then, else_branch=otherwise)
    del graph.node[:]
    graph.node.extend([*helped.nodes, branch, *outer])
    _sort(graph)


def _prefix_nodes(graph: onnx.GraphProto) -> list[NodeProto]:
    """The nodes that depend on the prefix alone, in their order."""
    weights = {initializer.name for initializer in graph.initializer}
    constant, of_prefix, inner = set(weights) | {""}, set(PREFIX), []
    for node in graph.node:
        if all(name in constant for name in node.input):
            constant.update(node.output)
        elif all(name in constant or name in of_prefix for name in node.input):
            of_prefix.update(node.output)
            inner.append(node)
    return inner


def _give_only_once(graph: onnx.GraphProto, inner: Sequence[NodeProto]) -> None:
    """Let an output that is a state with what the prefix brings behind it be that alone, without a copy at each step.

    At prefill it is the same, for the state is empty then; a step brings nothing, and what it gives is of no use.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    brought = {name for node in inner for name in node.output}
    states = {value.name for value in graph.input}
    for output in graph.output:
        node = made_by[output.name]
        if node.op_type != "Concat" or node.input[0] not in states or set(node.input[1:]) - brought:
            continue
        _, part = node.input
        graph.node.remove(node)
        for other in graph.node:
            other.input[:] = [output.name if name == part else name for name in other.input]
            other.output[:] = [output.name if name == part else name for name in other.output]


def _of_empty_prefix(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, Array]:
    """What a row gets without a prefix: name → (1, …), of those names whose values are rows, all alike."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(copy.SerializeToString(), threads=1)
    found = []
    for rows in (1, 3):
        feeds = {}
        for value in session.get_inputs():
            known = [size if isinstance(size, int) else 0 for size in value.shape[1:]]
            dtype = helper.tensor_dtype_to_np_dtype(_TYPES[value.type])
            feeds[value.name] = np.zeros((rows, *known), dtype)
        arrays = [np.asarray(array) for array in session.run(list(names), feeds)]
        found.append(dict(zip(names, arrays, strict=True)))
    alone, together = found
    return {
        name: value
        for name, value in alone.items()
        if together[name].shape == (3, *value.shape[1:]) and np.array_equal(together[name], np.repeat(value, 3, axis=0))
    }


_TYPES = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(int64)": TensorProto.INT64,
    "tensor(int32)": TensorProto.INT32,
    "tensor(bool)": TensorProto.BOOL,
}


class _Names:
    """New nodes, and constants, which become weights of the graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[NodeProto] = []
        self._graph, self._count = graph, 0

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = self._name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}/{kind}", **attributes))
        return name

    def constant(self, value: object) -> str:
        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"prefix.{self._count}"


def _constants(names: Sequence[str], values: dict[str, Array], batch: str) -> onnx.GraphProto:
    """The branch of a step: each value for as many rows as there are."""
    nodes, weights = [], []
    for name in names:
        value, inner = values[name], f"{name}/step"
        weights.append(numpy_helper.from_array(value, f"{inner}.row"))
        weights.append(numpy_helper.from_array(np.array(value.shape[1:], np.int64), f"{inner}.shape"))
        nodes.append(helper.make_node("Concat", [batch, f"{inner}.shape"], [f"{inner}.whole"], axis=0))
        nodes.append(helper.make_node("Expand", [f"{inner}.row", f"{inner}.whole"], [inner]))
    outputs = [_value(f"{name}/step", values[name]) for name in names]
    return helper.make_graph(nodes, "step", [], outputs, weights)


def _value(name: str, example: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(example.dtype), [None] * example.ndim)


def _sort(graph: onnx.GraphProto) -> None:
    """Let every node stand behind those that it needs: what is constant may stand behind the `If` that uses it."""
    made_by = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    ordered: list[NodeProto] = []

    def visit(node: NodeProto) -> None:
        if node.output[0] in done:
            return
        done.add(node.output[0])
        for name in _needed(node):
            if name in made_by:
                visit(made_by[name])
        ordered.append(node)

    for node in list(graph.node):
        visit(node)
    del graph.node[:]
    graph.node.extend(ordered)


def _needed(node: NodeProto) -> list[str]:
    inside = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return [*node.input, *(name for graph in inside for one in graph.node for name in one.input)]
