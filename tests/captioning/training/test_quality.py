import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.training.examples import collate
from ogiri.captioning.training.export import export_encoder
from ogiri.captioning.training.quality import decoder_difference, encoder_difference, nats_per_token
from tests.captioning.training.small import Job, engine, gate_lines, small_encoder, states

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def decoder(trained: Job) -> Decoder:
    return trained.run()[0].decoder


@pytest.fixture(scope="module")
def graph(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine(decoder, tmp_path_factory.mktemp("graph"))


@pytest.mark.parametrize("batch", [64, 5, 1])
def test_nats_a_token_are_those_of_torch(trained: Job, graph: Engine, batch: int):
    model, tokenizer = trained.run()[0], trained.dataset.tokenizer
    examples, lines = trained.dataset.train.examples, gate_lines(trained.dataset)
    found = nats_per_token(
        graph, lines.maps, lines.rows, lines.conditions, lines.lines, tokenizer.bos, tokenizer.eos, batch
    )
    every = collate(examples, np.arange(len(examples)), tokenizer.bos, tokenizer.eos)
    with torch.no_grad():
        logits = model.decoder(model.prefix(every, CPU), every.tokens)
    expected = functional.cross_entropy(logits.flatten(0, 1), every.targets.flatten())
    assert found == pytest.approx(expected.item(), abs=1e-5)


def test_a_guess_has_the_nats_of_the_vocabulary(trained: Job, decoder: Decoder, tmp_path: Path):
    guessing = copy.deepcopy(decoder)
    with torch.no_grad():
        guessing.embedding.weight.zero_()
        guessing.bias.zero_()
    lines = gate_lines(trained.dataset)
    found = nats_per_token(engine(guessing, tmp_path), lines.maps, lines.rows, lines.conditions, lines.lines, 1, 2)
    assert found == pytest.approx(math.log(decoder.vocabulary), abs=1e-5)


def test_a_decoder_that_differs_from_its_graph_is_seen(trained: Job, decoder: Decoder, graph: Engine):
    lines = gate_lines(trained.dataset)
    maps = lines.maps[lines.rows[:8]].astype(np.float32)

    def difference(other: Decoder) -> float:
        return decoder_difference(other, graph, maps, lines.conditions[:8], lines.lines[:8], 1)

    assert difference(decoder) <= 1e-5
    changed = copy.deepcopy(decoder)
    with torch.no_grad():
        changed.bias[7] += 0.001
    assert difference(changed) == pytest.approx(0.001, rel=0.05)


def test_an_encoder_that_differs_from_its_graph_is_seen(decoder: Decoder, tmp_path: Path):
    encoder = small_encoder()
    export_encoder(encoder, tmp_path / "encoder.onnx")
    engine(decoder, tmp_path)
    graph = Engine(tmp_path / "float32.onnx", states(decoder), tmp_path / "encoder.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert encoder_difference(encoder, graph, pictures) <= 1e-5
    with torch.no_grad():
        encoder.mean += 0.001
    assert encoder_difference(encoder, graph, pictures) > 1e-4
