"""The models that are measured: every contender must write the same line on the same files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.serving import models
from benchmarks.serving.peers.graphs import Graphs
from benchmarks.serving.peers.lines import Ask, draw, write
from benchmarks.serving.peers.weights import Recurrent, Weights
from benchmarks.serving.shapes import Shape, build_decoder
from ogiri.captioning.model.conditioning import ConditionLimits
from ogiri.captioning.model.tokenizer import EOS, Tokenizer
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.serving.parameters import Parameters

SHAPES = {
    "lstm": Shape("lstm", "squeezenet1_1", 400, 64, 1, 64),
    "gpt2": Shape("gpt2", "squeezenet1_1", 400, 128, 2, 64),
}
TOKENS = 12


@pytest.fixture(scope="module", params=SHAPES)
def made(request, tmp_path_factory):
    base = tmp_path_factory.mktemp(request.param)
    models.make(SHAPES[request.param], base)
    return base, SHAPES[request.param]


@pytest.fixture
def pictures():
    return np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)


def test_each_token_is_a_character_so_that_lines_have_the_length_that_is_asked_for(made, pictures):
    base, _ = made
    captioner = open_captioner(base / "model", json.loads((base / "model/manifest.json").read_text()))
    for tokens in (1, 8, 64):
        parameters = Parameters(num_candidates=3, min_length=tokens, max_length=tokens)
        captions = captioner.caption(captioner.engine.encode(pictures[:1]), captioner.conditions((), ""), parameters)
        assert [len(caption.tokens) for caption in captions] == [tokens] * 3
        assert [len(caption.text) for caption in captions] == [tokens] * 3


def test_the_peers_loop_writes_what_our_engine_writes(made, pictures):
    base, _ = made
    captioner = open_captioner(base / "model", json.loads((base / "model/manifest.json").read_text()))
    parameters = Parameters(temperature=0.0, min_length=TOKENS, max_length=TOKENS)
    ours = [
        captioner.caption(captioner.engine.encode(one[None]), captioner.conditions((), ""), parameters)[0].text
        for one in pictures
    ]
    asks = [Ask(picture, TOKENS, 0.0) for picture in pictures]
    assert write(Graphs(base / "model", 1), asks, np.random.default_rng()) == ours


def test_shorter_lines_in_a_batch_are_cut_to_their_length(made, pictures):
    base, _ = made
    asks = [Ask(picture, tokens, 0.0) for picture, tokens in zip(pictures, (3, 9, 5), strict=True)]
    assert [len(line) for line in write(Graphs(base / "model", 1), asks, np.random.default_rng())] == [3, 9, 5]


def test_the_torch_peer_computes_what_the_decoder_computes(made, pictures):
    base, shape = made
    weights = Weights(base, shape)
    decoder = build_decoder(shape, weights._encoder.channels, ConditionLimits()).eval()
    decoder.load_state_dict(load_file(base / "weights/decoder.safetensors"))
    reference = Recurrent(decoder)
    logits, state = weights.prefill(pictures)
    with torch.inference_mode():
        expected, after = reference.begin(weights._encoder(torch.from_numpy(pictures)), weights.tokenizer.bos)
        for _ in range(4):
            np.testing.assert_allclose(logits, expected.numpy(), atol=2e-6)
            tokens = logits.argmax(1)
            logits, state = weights.step(tokens, state)
            expected, after = reference.go_on(torch.from_numpy(tokens)[:, None], after)


@pytest.mark.parametrize("vocabulary", [3, 40_000])
def test_a_vocabulary_without_so_many_characters_is_refused(vocabulary):
    with pytest.raises(ValueError, match=str(vocabulary)):
        models.tokenizer_model(vocabulary)


def test_the_tokenizer_has_the_tokens_that_are_wanted():
    tokenizer = Tokenizer(models.tokenizer_model(32_000))
    assert tokenizer.vocabulary == 32_000
    surfaces = [surface.decode() for surface in tokenizer.surfaces[EOS + 1 :]]
    assert all(len(surface) == 1 and surface.isprintable() and not surface.isspace() for surface in surfaces)
    assert len(set(surfaces)) == len(surfaces)
    assert tokenizer.encode(surfaces[5] + surfaces[-1]) == [EOS + 6, 31_999]


def test_drawing_takes_the_best_at_temperature_0_and_no_control_token():
    logits = np.array([[9, 9, 9, 1, 2, 3], [9, 9, 9, 3, 2, 1]], np.float32)
    logits = np.pad(logits, ((0, 0), (0, 100)), constant_values=-50)
    nothing = np.empty((2, 0), np.int64)
    assert draw(logits, nothing, np.zeros(2, np.float32), np.random.default_rng()).tolist() == [5, 3]


def test_drawing_keeps_to_the_best_tokens_and_makes_written_ones_rarer():
    logits = np.zeros((1, 200), np.float32)
    logits[0, 10:12] = 12.0
    random = np.random.default_rng(0)
    drawn = [int(draw(logits, np.array([[10]]), np.ones(1, np.float32), random)[0]) for _ in range(300)]
    assert set(drawn) == {10, 11}
    assert 0 < drawn.count(10) < 110  # e to the power of 12 - 12 / 1.1 makes it three times as rare
