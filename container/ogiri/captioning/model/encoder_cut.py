"""Where a trunk can be cut in two: what stays as it is, computed once for each picture, and the stages that learn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx


@dataclass(frozen=True)
class Cut:
    """The two parts of a trunk, which share its weights.

    Attributes:
        after: the node of the trunk's graph that is the last of the first part.
        shape: of what is kept of one picture between them.
    """

    after: str
    shape: tuple[int, ...]
    _head: fx.Interpreter
    _tail: fx.Interpreter

    def head(self, x: Tensor) -> Tensor:
        """Normalised pictures (batch, 3, size, size) → (batch, rows, columns), what is kept of them."""
        kept: Tensor = self._head.run(x)
        return kept.flatten(2)

    def tail(self, kept: Tensor) -> dict[str, Tensor]:
        """What is kept (batch, rows, columns) → what the whole trunk gives."""
        given: dict[str, Tensor] = self._tail.run(kept.reshape(len(kept), *self.shape))
        return given


def find_cut(trunk: fx.GraphModule, learning: Collection[str], example: Tensor) -> Cut | None:
    """Cut before the first of the stages that learn, or as far before it as needed for one value to pass.

    Args:
        trunk: in evaluation mode.
        learning: names of the stages that learn.
        example: (1, 3, size, size) normalised picture.

    Returns:
        None where several values pass at each place before these stages.
    """
    nodes = list(trunk.graph.nodes)
    first = next((place for place, node in enumerate(nodes) if _is_of(node, learning)), len(nodes))
    for place in range(first - 1, 0, -1):
        before, last, later = nodes[: place + 1], nodes[place], nodes[place + 1 :]
        needed = [node for node in before if not node.users.keys().isdisjoint(later)]
        if [node for node in needed if node.op != "get_attr"] != [last]:
            continue
        head = fx.Interpreter(trunk, graph=_head(before))
        with torch.no_grad():
            kept = head.run(example)
        if isinstance(kept, Tensor) and kept.dim() > 2:
            return Cut(last.name, tuple(kept.shape[1:]), head, fx.Interpreter(trunk, graph=_tail(needed, later)))
    return None


def _is_of(node: fx.Node, stages: Collection[str]) -> bool:
    """Whether a node computes with weights of one of these stages."""
    own = node.op in ("call_module", "get_attr")
    return own and any(f"{node.target}.".startswith(f"{stage}.") for stage in stages)


def _head(nodes: Sequence[fx.Node]) -> fx.Graph:
    """These nodes, the last of which gives the value."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[nodes[-1]])
    return graph


def _tail(needed: Sequence[fx.Node], nodes: Sequence[fx.Node]) -> fx.Graph:
    """These nodes, the last of which says what is given; of those needed before them, weights are their own."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in needed:
        copies[node] = graph.node_copy(node) if node.op == "get_attr" else graph.placeholder("kept")
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph
