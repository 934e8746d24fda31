import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.training.examples import IGNORED, collate
from ogiri.captioning.training.export import export_encoder
from ogiri.captioning.training.publish import state_entries
from ogiri.captioning.training.quality import (
    Comparison,
    compare,
    decoder_difference,
    encoder_difference,
    encoder_rounding,
    line_nats,
    nats_per_token,
)
from tests.captioning.training.small import Job, engine, gate_lines, small_encoder

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


def test_nats_of_a_line_stand_at_its_place(trained: Job, graph: Engine):
    tokenizer, lines = trained.dataset.tokenizer, gate_lines(trained.dataset)
    ends = tokenizer.bos, tokenizer.eos
    found = line_nats(graph, lines.maps, lines.rows, lines.conditions, lines.lines, *ends, 5)
    for i in (0, 7, len(lines.lines) - 1):
        alone = nats_per_token(graph, lines.maps, lines.rows[[i]], [lines.conditions[i]], [lines.lines[i]], *ends)
        assert found[i] == pytest.approx(alone * (len(lines.lines[i]) + 1), abs=1e-4)


def test_a_guess_has_the_nats_of_the_vocabulary(trained: Job, decoder: Decoder, tmp_path: Path):
    guessing = copy.deepcopy(decoder)
    with torch.no_grad():
        guessing.embedding.weight.zero_()
        guessing.bias.zero_()
    lines = gate_lines(trained.dataset)
    found = nats_per_token(engine(guessing, tmp_path), lines.maps, lines.rows, lines.conditions, lines.lines, 1, 2)
    assert found == pytest.approx(math.log(decoder.vocabulary), abs=1e-5)


def scored(graph: Engine, other: Engine, job: Job, batch: int = 64) -> Comparison:
    lines, tokenizer = gate_lines(job.dataset), job.dataset.tokenizer
    return compare(
        graph, other, lines.maps, lines.rows, lines.conditions, lines.lines, tokenizer.bos, tokenizer.eos, batch
    )


def test_a_graph_agrees_with_itself_wholly(trained: Job, graph: Engine):
    found = scored(graph, graph, trained)
    assert found.float32 == found.quantized
    assert found.top1_agreement == 1


@pytest.mark.parametrize("batch", [64, 5])
def test_agreement_is_the_share_of_tokens_with_the_same_favourite(
    trained: Job, decoder: Decoder, graph: Engine, tmp_path: Path, batch: int
):
    model, tokenizer = trained.run()[0], trained.dataset.tokenizer
    changed = copy.deepcopy(decoder)
    with torch.no_grad():
        changed.bias[::40] += 8.0
    found = scored(graph, engine(changed, tmp_path), trained, batch)
    examples = trained.dataset.train.examples
    every = collate(examples, np.arange(len(examples)), tokenizer.bos, tokenizer.eos)
    known = every.targets != IGNORED
    with torch.no_grad():
        prefix = model.prefix(every, CPU)
        one, other = (each(prefix, every.tokens) for each in (model.decoder, changed))
    expected = (one.argmax(-1) == other.argmax(-1))[known].float().mean().item()
    assert 0.02 < expected < 0.98
    assert found.top1_agreement == pytest.approx(expected)
    for nats, logits in ((found.float32, one), (found.quantized, other)):
        assert nats == pytest.approx(functional.cross_entropy(logits[known], every.targets[known]).item(), abs=1e-5)


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
    graph = Engine(tmp_path / "float32.onnx", state_entries(decoder), tmp_path / "encoder.onnx")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert encoder_difference(encoder, graph, pictures) <= 1e-5
    assert encoder_rounding(encoder, pictures) <= 1e-5
    with torch.no_grad():
        encoder.mean += 0.001
    assert encoder_difference(encoder, graph, pictures) > 1e-4
    assert encoder_rounding(encoder, pictures) <= 1e-5


def test_the_rounding_of_an_encoder_that_magnifies_is_seen():
    torch.manual_seed(0)
    pictures = np.full((3, 32, 32, 3), 128, np.uint8)
    pictures[:, 3, 5, 1] = 127, 128, 129  # hardly anything differs, and batch norm makes it one standard deviation
    layers = (nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8, eps=1e-16), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = Encoder("resnet18", 32, nn.Sequential(*layers, nn.Linear(8, 2)))
    encoder.settle([torch.from_numpy(pictures)])
    before = copy.deepcopy(encoder.state_dict())
    assert encoder_rounding(encoder, pictures) > 1e-5
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
