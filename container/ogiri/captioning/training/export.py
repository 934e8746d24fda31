"""Trained weights → the two ONNX graphs of an artifact, the second one quantised.

Weights are quantised by MatMulNBits, block by block, and activations row by row: unlike ONNX Runtime's dynamic int8,
which takes one scale over the whole batch, a line does not depend on what else is decoded beside it.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from torch import Tensor, nn

from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.encoder import Encoder, EncoderHead
from ogiri.captioning.training.branch import branch_prefix
from ogiri.captioning.training.graph_file import save_graph
from ogiri.captioning.training.tied import round_table, share_table

OPSET = 17
QUANTIZED_BITS = 8
FINEST_BLOCK = 32
BLOCKS = (256, 128, 64, FINEST_BLOCK)
"""Weights that share a scale. Large blocks are fast: with 256 a step of GPT-2 medium takes half as long as with 32 for
eight lines, and three fifths for one."""

_NO_BIAS = 3  # inputs of a MatMulNBits: what is multiplied, weights, scales

MAX_PADDING = 1.03  # of the weights: the last block of a matrix is filled up
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy level: each row's activations are rounded to int8 by blocks

_PREFIX_AXES = {
    "map": {0: "batch", 1: "cells"},
    "label_pieces": {0: "batch", 1: "labels", 2: "pieces"},
    "label_confidence": {0: "batch", 1: "labels"},
    "text_pieces": {0: "batch", 1: "text"},
    "controls": {0: "batch", 1: "controls"},
}

log = logging.getLogger(__name__)


class DecoderGraph(nn.Module):
    """`Decoder.advance` with flat tensors in and out."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens: Tensor,
        map: Tensor,
        label_pieces: Tensor,
        label_confidence: Tensor,
        text_pieces: Tensor,
        controls: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        """Logits and the next state, in the order of `state_specs`."""
        names = [spec.name for spec in self.decoder.state_specs]
        prefix = Prefix(map, label_pieces, label_confidence, text_pieces, controls)
        logits, after = self.decoder.advance(tokens, prefix, dict(zip(names, state, strict=True)))
        return (logits, *(after[name] for name in names))


def export_encoder(encoder: Encoder | EncoderHead, path: Path) -> None:
    """Write the encoder graph: `picture` uint8 (batch, size, size, 3) → `map` float32 (batch, cells, channels)."""
    picture = torch.zeros(1, encoder.size, encoder.size, 3, dtype=torch.uint8)
    _export(encoder, (picture,), path, ["picture"], ["map"], {"picture": {0: "batch"}, "map": {0: "batch"}})
    save_graph(onnx.load(path), path)


def export_decoder(decoder: Decoder, channels: int, path: Path) -> None:
    """Write the decoder graph; docs/architecture.md says what goes in and out."""
    specs = decoder.state_specs
    batch = 2  # of the example only; with 1 the exporter would take it for a constant
    example = (
        torch.zeros(batch, 1, dtype=torch.int64),
        torch.zeros(batch, 3, channels),
        torch.zeros(batch, 2, 2, dtype=torch.int64),
        *(torch.zeros(batch, 2, dtype=torch.int64) for _ in ("label_confidence", "text_pieces", "controls")),
        *decoder.initial_state(batch).values(),
    )
    axes: dict[str, dict[int, str]] = {"tokens": {0: "batch"}, "logits": {0: "batch"}, **_PREFIX_AXES}
    for spec in specs:
        growing = {} if spec.growing is None else {spec.growing: f"past_{spec.name}"}
        axes[spec.name] = {0: "batch", **growing}
        axes[f"next.{spec.name}"] = {0: "batch", **({} if spec.growing is None else {spec.growing: spec.name})}
    names = [spec.name for spec in specs]
    inputs = ["tokens", *_PREFIX_AXES, *names]
    outputs = ["logits", *(f"next.{name}" for name in names)]
    _export(DecoderGraph(decoder), example, path, inputs, outputs, axes, decoder.custom_opsets)
    graph = onnx.load(path)
    share_table(graph)
    onnx.save(graph, path)


def finish_decoder(source: Path, target: Path) -> None:
    """Make the decoder graph what is shipped without rounding: what only prefill needs goes behind a condition."""
    model = onnx.load(source)
    branch_prefix(model)
    save_graph(model, target)


def quantization_blocks(source: Path) -> list[int]:
    """The block sizes to try for a graph: the largest that hardly pads its matrices, and the most exact one."""
    graph = onnx.load(source).graph
    weights = {initializer.name: initializer.dims for initializer in graph.initializer}
    shapes = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    exact = sum(rows * columns for rows, columns in shapes)
    for block in BLOCKS:
        if sum(-(-rows // block) * block * columns for rows, columns in shapes) <= MAX_PADDING * exact:
            return sorted({block, FINEST_BLOCK}, reverse=True)
    return [FINEST_BLOCK]


def quantize_decoder(source: Path, target: Path, block: int = FINEST_BLOCK) -> None:
    """Round the weights of all matrix products to 8 bits in blocks along the summed axis."""
    config = DefaultWeightOnlyQuantConfig(
        block_size=block, is_symmetric=True, accuracy_level=INT8_ACTIVATIONS, bits=QUANTIZED_BITS
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    previous = logging.root.manager.disable
    logging.disable(logging.INFO)  # the quantizer tells about every node
    try:
        quantizer.process()  # type: ignore[no-untyped-call]
    finally:
        logging.disable(previous)
    model = quantizer.model.model
    round_table(model, f"_Q{QUANTIZED_BITS}", "_scales")
    add_biases(model)
    branch_prefix(model)
    save_graph(model, target)


def add_biases(model: onnx.ModelProto) -> None:
    """Let each MatMulNBits add the bias that is added to it: a node less."""
    weights = {initializer.name: initializer.dims for initializer in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(value.name for value in model.graph.output)
    products = {n.output[0]: n for n in model.graph.node if n.op_type == "MatMulNBits" and len(n.input) == _NO_BIAS}
    for node in [node for node in model.graph.node if node.op_type == "Add"]:
        product = next((products[name] for name in node.input if name in products), None)
        bias = next((name for name in node.input if len(weights.get(name, ())) == 1), None)
        if product is None or bias is None or readers[product.output[0]] > 1:
            continue
        if list(weights[bias]) != [next(a.i for a in product.attribute if a.name == "N")]:
            continue
        product.input.extend(["", "", bias])  # no zero points, no order of groups
        product.output[0] = node.output[0]
        model.graph.node.remove(node)


def _export(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
    custom_opsets: Mapping[str, int] | None = None,
) -> None:
    module.eval()
    with warnings.catch_warnings(), torch.no_grad(), _without_fast_attention():
        # The TorchScript exporter says that it will go one day, and which shapes it took for constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets=dict(custom_opsets or {}),
            dynamo=False,
        )
    onnx.checker.check_model(str(path))


@contextmanager
def _without_fast_attention() -> Iterator[None]:
    """`nn.MultiheadAttention`, as vision transformers have it, computed by operators that ONNX knows."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
