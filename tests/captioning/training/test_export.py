"""What the graphs compute against what torch computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder, build_network
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training.export import export_encoder, quantize_decoder
from ogiri.captioning.training.publish import state_entries
from ogiri.captioning.training.quality import decoder_difference, encoder_difference
from tests.captioning.training.small import Job, engine, every_node, new_model

LINES = 8


@pytest.fixture(scope="module")
def decoder(trained: Job) -> Decoder:
    return trained.run()[0].decoder


def shapes(path: Path) -> dict[str, list[str | int]]:
    graph = onnx.load(path).graph
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


# --- encoder ---------------------------------------------------------------------------------------------------------


def vision_transformer() -> nn.Module:
    return VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)


NETWORKS: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "mobilenet_v3_small": (64, lambda: build_network("mobilenet_v3_small")),
    "resnet18": (64, lambda: build_network("resnet18")),
    "vit_b_32": (32, vision_transformer),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_encoder_graph_equals_torch_for_any_number_of_pictures(name: str, decoder: Decoder, tmp_path: Path):
    size, build = NETWORKS[name]
    torch.manual_seed(0)
    encoder = Encoder(name, size, build())
    pictures = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), np.uint8)
    encoder.settle([torch.from_numpy(pictures)])
    export_encoder(encoder, tmp_path / "encoder.onnx")
    assert shapes(tmp_path / "encoder.onnx")["picture"] == ["batch", size, size, 3]
    engine(decoder, tmp_path)
    graph = Engine(tmp_path / "float32.onnx", state_entries(decoder), tmp_path / "encoder.onnx", threads=1)
    for count in (1, 5):
        assert encoder_difference(encoder, graph, pictures[:count]) <= 1e-4
    assert graph.encode(pictures).shape == (5, encoder.cells, encoder.channels)
    assert np.abs(graph.encode(pictures)).max() > 0.1
    assert torch.backends.mha.get_fastpath_enabled()


# --- decoder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
def test_the_decoder_graph_equals_torch_step_by_step(trained: Job, tmp_path: Path, layers: int):
    decoder = new_model(trained.hp, trained.dataset, layers=layers).decoder.eval()
    examples = trained.dataset.train.examples
    with torch.no_grad():
        decoder.embedding.weight *= 10
    rows = examples.picture_of[:LINES]
    conditions = [examples.conditions[row] for row in rows]
    maps = examples.pictures[examples.rows[rows]].astype(np.float32)
    found = decoder_difference(decoder, engine(decoder, tmp_path), maps, conditions, examples.lines[:LINES], 1)
    assert found <= 1e-5
    expected = ["tokens", "map", "label_pieces", "label_confidence", "text_pieces", "controls"]
    expected += [spec.name for spec in decoder.state_specs]
    expected += ["logits", *(f"next.{spec.name}" for spec in decoder.state_specs)]
    assert list(shapes(tmp_path / "float32.onnx")) == expected


# --- quantised -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine(decoder, tmp_path_factory.mktemp("quantized"), quantized=True)


@pytest.fixture(scope="module")
def known(trained: Job) -> tuple[np.ndarray, list[Conditions]]:
    """Maps and conditions of eight pictures; what is known of them differs in length."""
    examples = trained.dataset.train.examples
    maps = examples.pictures[examples.rows[:LINES]].astype(np.float32)
    return maps, list(examples.conditions[:LINES])


def test_all_large_weights_are_rounded_to_8_bits(decoder: Decoder, tmp_path: Path):
    engine(decoder, tmp_path)
    quantize_decoder(tmp_path / "float32.onnx", tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    weights = {initializer.name for initializer in graph.initializer}
    rounded = [node for node in every_node(graph) if node.op_type == "MatMulNBits"]
    assert len(rounded) >= 8
    assert {a.i for node in rounded for a in node.attribute if a.name == "bits"} == {8}
    left = [node.name for node in every_node(graph) if node.op_type in ("MatMul", "Gemm") and weights & set(node.input)]
    assert left == []
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * (tmp_path / "float32.onnx").stat().st_size


def all_logits(engine: Engine, maps: np.ndarray, conditions: list[Conditions], steps: int = 6) -> np.ndarray:
    """(steps, rows, vocabulary), each row going on with its own best token."""
    logits, state = engine.prefill(maps, stack_conditions(conditions), 1)
    found = [logits]
    for _ in range(steps - 1):
        logits, state = engine.step(logits.argmax(-1), state)
        found.append(logits)
    return np.stack(found)


def test_a_quantised_row_is_alone_what_it_is_beside_seven_others(
    quantized: Engine, known: tuple[np.ndarray, list[Conditions]]
):
    maps, conditions = known
    together = all_logits(quantized, maps, conditions)
    for row in range(LINES):
        alone = all_logits(quantized, maps[row : row + 1], conditions[row : row + 1])
        np.testing.assert_allclose(
            alone[:, 0], together[:, row], rtol=1e-6, atol=1e-6
        )  # float32 rounds logits of 9 by 1e-6


def test_quantised_lines_do_not_depend_on_what_is_written_beside_them(
    quantized: Engine, trained: Job, known: tuple[np.ndarray, list[Conditions]]
):
    maps, conditions = known
    captioner = Captioner(quantized, trained.dataset.tokenizer, trained.dataset.limits, 20)
    for parameters in (Parameters(temperature=0), Parameters(seed=5, num_candidates=2), Parameters(num_beams=3)):
        together = captioner.captions(maps, conditions, parameters)
        alone = [captioner.caption(maps[row : row + 1], conditions[row], parameters) for row in range(LINES)]
        assert [[c.tokens for c in captions] for captions in together] == [
            [c.tokens for c in captions] for captions in alone
        ]
        assert len({captions[0].text for captions in together}) > 1


def test_quantised_logits_are_close_to_those_of_torch(
    quantized: Engine, decoder: Decoder, known: tuple[np.ndarray, list[Conditions]], tmp_path: Path
):
    exact, rounded = (all_logits(each, *known, steps=1) for each in (engine(decoder, tmp_path), quantized))
    error = np.abs(exact - rounded).max()
    assert 1e-6 < error < 0.05 * np.abs(exact).max()
