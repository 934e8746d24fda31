"""What only prefill needs is behind a condition, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.training.branch import branch_prefix
from ogiri.captioning.training.export import export_decoder, finish_decoder
from ogiri.captioning.training.publish import state_entries
from tests.captioning.training.small import CHANNELS, every_node

VOCABULARY = 50


def lstm() -> Decoder:
    from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions

    return LSTMDecoder(LSTMDimensions(VOCABULARY, CHANNELS, 4, width=32, heads=4))


def gpt2() -> Decoder:
    from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions

    return GPT2Decoder(GPT2Dimensions(VOCABULARY, CHANNELS, 4, positions=12, width=32, heads=2, layers=2))


@pytest.fixture(params=[lstm, gpt2])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return request.param().eval()


@pytest.fixture
def graphs(decoder: Decoder, tmp_path: Path) -> tuple[Path, Path]:
    """The graph as it is exported, and as it is shipped."""
    export_decoder(decoder, CHANNELS, tmp_path / "plain.onnx")
    finish_decoder(tmp_path / "plain.onnx", tmp_path / "shipped.onnx")
    return tmp_path / "plain.onnx", tmp_path / "shipped.onnx"


def conditions(labels: list[list[int]], text: list[int]) -> Conditions:
    pieces = np.array(labels, np.int64).reshape(len(labels), -1 if labels else 0)
    return Conditions(pieces, np.ones(len(labels), np.int64), np.array(text, np.int64))


def steps(graph: Path, decoder: Decoder, maps: np.ndarray | None, known: list[Conditions]) -> list[np.ndarray]:
    """Logits and states of a prefill and some steps."""
    engine = Engine(graph, state_entries(decoder), threads=1)
    logits, state = engine.prefill(maps, stack_conditions(known), 1)
    found = [logits, *state.values()]
    for token in (5, 6, 7):
        logits, state = engine.step(np.full(len(known), token), state)
        found += [logits, *state.values()]
    return found


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("picture", [True, False])
def test_the_graph_computes_what_it_did(decoder: Decoder, graphs: tuple[Path, Path], rows: int, picture: bool):
    maps = np.random.default_rng(0).standard_normal((rows, 4, CHANNELS)).astype(np.float32) if picture else None
    known = [conditions([[5, 6], [7, -1]], [8, 9]), conditions([], []), conditions([[5, 6]], [])][:rows]
    plain, shipped = (steps(graph, decoder, maps, known) for graph in graphs)
    assert len(plain) == len(shipped)
    for one, other in zip(plain, shipped, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)


def test_a_step_runs_nothing_that_reads_the_prefix(graphs: tuple[Path, Path]):
    plain, shipped = (onnx.load(graph).graph for graph in graphs)
    readers = [node.op_type for node in shipped.node if set(node.input) & {"map", "label_pieces", "text_pieces"}]
    assert set(readers) <= {"Shape"}
    assert [node.op_type for node in shipped.node].count("If") == 1
    assert len(shipped.node) < len(plain.node)
    assert {node.op_type for node in every_node(shipped)} >= {node.op_type for node in plain.node}
    assert [value.name for value in shipped.input] == [value.name for value in plain.input]
    assert [value.name for value in shipped.output] == [value.name for value in plain.output]


def test_a_step_copies_no_state_that_stays_as_it_is(decoder: Decoder, graphs: tuple[Path, Path]):
    constants = {spec.name for spec in decoder.state_specs if spec.constant and spec.growing is not None}
    readers = {node.op_type for node in onnx.load(graphs[1]).graph.node if set(node.input) & constants}
    assert not readers & {"Concat", "Pad", "Transpose"}
    assert bool(readers) == bool(constants)


def test_weights_are_there_once(graphs: tuple[Path, Path]):
    plain, shipped = (graph.stat().st_size for graph in graphs)
    assert shipped < 1.2 * plain


def test_doing_it_twice_is_refused_by_nothing_and_changes_no_figure(
    decoder: Decoder, graphs: tuple[Path, Path], tmp_path: Path
):
    model = onnx.load(graphs[1])
    branch_prefix(model)
    onnx.save(model, tmp_path / "twice.onnx")
    known = [conditions([[5, 6]], [8])]
    for one, other in zip(
        steps(graphs[1], decoder, None, known), steps(tmp_path / "twice.onnx", decoder, None, known), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)
