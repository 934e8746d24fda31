"""One table instead of two, and what is computed stays the same."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from ogiri.captioning.training.export import quantize_decoder
from ogiri.captioning.training.tied import share_table

TOKENS = 70


class Tied(nn.Module):
    """Looks tokens up, and multiplies by the same table."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.embedding(tokens)
        return rows, nn.functional.linear(rows, self.embedding.weight)


def write(module: nn.Module, path: Path) -> onnx.ModelProto:
    torch.onnx.export(
        module,
        (torch.zeros(2, 3, dtype=torch.int64),),
        str(path),
        input_names=["tokens"],
        output_names=["rows", "logits"],
        dynamic_axes={"tokens": {0: "batch", 1: "time"}, "rows": {0: "batch", 1: "time"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load(path)


def run(path: Path, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ort: Any = onnxruntime
    return tuple(ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"tokens": tokens}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("width", [64, 40], ids=["whole blocks", "a block that is padded"])
def test_one_table_gives_the_rows_and_the_products_of_two(tmp_path: Path, width: int):
    torch.manual_seed(0)
    module = Tied(width).eval()
    graph = write(module, tmp_path / "two.onnx")
    assert len(graph.graph.initializer) == 2
    share_table(graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, tmp_path / "one.onnx")
    quantize_decoder(tmp_path / "one.onnx", tmp_path / "rounded.onnx")
    tokens = np.random.default_rng(0).integers(0, TOKENS, (4, 5))
    with torch.no_grad():
        expected = [value.numpy() for value in module(torch.from_numpy(tokens))]
    rows, logits = run(tmp_path / "one.onnx", tokens)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(logits, expected[1], rtol=1e-5, atol=1e-5)
    rows, logits = run(tmp_path / "rounded.onnx", tokens)
    largest = np.abs(module.embedding.weight.detach().numpy()).max()
    assert 0 < np.abs(rows - expected[0]).max() < largest / 127
    assert np.abs(logits - expected[1]).max() < 0.02 * np.abs(expected[1]).max()
    for name in ("one", "rounded"):
        tables = [w for w in onnx.load(tmp_path / f"{name}.onnx").graph.initializer if math.prod(w.dims) > 20 * TOKENS]
        assert len(tables) == 1
        # A step asks for no rows of the prefix.
        assert run(tmp_path / f"{name}.onnx", tokens[:, :0])[0].shape == (4, 0, width)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_table_of_its_own_stays(tmp_path: Path):
    class Untied(Tied):
        def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            rows = self.embedding(tokens)
            return rows, nn.functional.linear(rows, self.embedding.weight + 1)

    graph = write(Untied(32).eval(), tmp_path / "two.onnx")
    before = graph.SerializeToString(deterministic=True)
    share_table(graph)
    assert graph.SerializeToString(deterministic=True) == before
