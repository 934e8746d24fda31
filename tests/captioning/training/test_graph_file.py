"""Large weights beside a graph: the same answers, files that anybody may read, and nothing that stays mapped."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder, build_network
from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.serving.engine import Engine, graph_bytes, open_session, weights_file
from ogiri.captioning.training.export import export_decoder, export_encoder, finish_decoder, quantize_decoder
from ogiri.captioning.training.graph_file import LARGE_BYTES
from ogiri.captioning.training.publish import state_entries

CHANNELS, SIZE = 512, 64
OPEN = """
import sys
from pathlib import Path
from ogiri.captioning.serving.engine import open_session, weights_file
graph = Path(sys.argv[1])
session = open_session(graph, 1)
print(str(weights_file(graph)) in Path("/proc/self/maps").read_text())
"""


def lstm() -> Decoder:
    return LSTMDecoder(LSTMDimensions(300, CHANNELS, 7, width=512))


def gpt2() -> Decoder:
    return GPT2Decoder(GPT2Dimensions(300, CHANNELS, 7, positions=20, width=512, heads=8, layers=2))


@pytest.fixture(scope="module", params=[lstm, gpt2], ids=["lstm", "gpt2"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    torch.manual_seed(0)
    built: Decoder = request.param().eval()
    return built


@pytest.fixture(scope="module")
def graphs(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The decoder's graph in one file, and as it is shipped in float32 and in 8 bits."""
    folder = tmp_path_factory.mktemp("graphs")
    paths = {name: folder / f"{name}.onnx" for name in ("plain", "float32", "int8")}
    export_decoder(decoder, CHANNELS, paths["plain"])
    finish_decoder(paths["plain"], paths["float32"])
    quantize_decoder(paths["plain"], paths["int8"], 256)
    return paths


def stays_mapped(graph: Path) -> bool:
    """Whether a process that has opened the graph still has the file of its weights mapped."""
    command = [sys.executable, "-c", OPEN, str(graph)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout == "True\n"


def second_logits(graph: Path, decoder: Decoder) -> np.ndarray:
    """(rows, vocabulary) after one token."""
    engine = Engine(graph, state_entries(decoder), threads=1)
    nothing = np.zeros(0, np.int64)
    known = stack_conditions([Conditions(nothing.reshape(0, 0), nothing, nothing, np.zeros(2, np.int64))] * 2)
    first, state = engine.prefill(np.random.default_rng(0).standard_normal((2, 4, CHANNELS), np.float32), known, 1)
    return engine.step(first.argmax(-1), state)[0]


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_most_of_a_decoder_lies_beside_its_graph_and_stays_mapped_nowhere(graphs: dict[str, Path], name: str):
    graph = graphs[name]
    assert weights_file(graph).stat().st_size > graph.stat().st_size
    assert graph_bytes(graph) == weights_file(graph).stat().st_size + graph.stat().st_size
    assert not stays_mapped(graph)


def test_a_decoder_computes_the_same_with_its_weights_beside_it(graphs: dict[str, Path], decoder: Decoder):
    assert not weights_file(graphs["plain"]).exists()
    expected, found = (second_logits(graphs[name], decoder) for name in ("plain", "float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def vision_transformer() -> nn.Module:
    return VisionTransformer(image_size=SIZE, patch_size=8, num_layers=1, num_heads=2, hidden_dim=256, mlp_dim=512)


ENCODERS = {"resnet18": lambda: build_network("resnet18"), "vit_b_32": vision_transformer}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_computes_what_torch_does_with_its_weights_beside_it(name: str, tmp_path: Path):
    torch.manual_seed(0)
    encoder = Encoder(name, SIZE, ENCODERS[name]())
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    encoder.settle([torch.from_numpy(pictures)])
    graph = tmp_path / "encoder.onnx"
    export_encoder(encoder.eval(), graph)
    assert weights_file(graph).stat().st_size > LARGE_BYTES
    assert not stays_mapped(graph)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pictures)).numpy()
    found = open_session(graph, 1).run(["map"], {"picture": pictures})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_whoever_may_read_a_graph_may_read_its_weights(graphs: dict[str, Path]):
    graph = graphs["int8"]
    assert stat.S_IMODE(weights_file(graph).stat().st_mode) == stat.S_IMODE(graph.stat().st_mode)


def test_writing_a_graph_again_leaves_nothing_of_the_one_before(graphs: dict[str, Path], tmp_path: Path):
    graph = tmp_path / "decoder.onnx"
    quantize_decoder(graphs["plain"], graph, 32)
    quantize_decoder(graphs["plain"], graph, 256)
    assert weights_file(graph).read_bytes() == weights_file(graphs["int8"]).read_bytes()


def test_a_graph_without_its_weights_is_named(graphs: dict[str, Path], tmp_path: Path):
    graph = tmp_path / "decoder.onnx"
    graph.write_bytes(graphs["int8"].read_bytes())
    with pytest.raises(ValueError, match=r"decoder\.onnx cannot be loaded as a graph: .*int8\.onnx\.data"):
        open_session(graph, 1)
