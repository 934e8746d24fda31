"""The real decoder, exported: the engine writes what torch writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ogiri.captioning.model.conditioning import ConditionLimits, stack_conditions
from ogiri.captioning.model.decoder import Prefix, greedy
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training.export import export_decoder
from ogiri.captioning.training.publish import state_entries
from ogiri.record import Label
from tests.captioning.serving.tiny import CHANNELS

LIMITS = ConditionLimits()
MAX_TOKENS = 10


@pytest.fixture(scope="module")
def decoder(tokenizer: Tokenizer) -> LSTMDecoder:
    torch.manual_seed(0)
    dims = LSTMDimensions(tokenizer.vocabulary, CHANNELS, LIMITS.buckets, width=32, heads=4, layers=2)
    decoder = LSTMDecoder(dims).eval()
    with torch.no_grad():
        decoder.embedding.weight *= 20
        # Nothing that the rules of a line would refuse, so that torch's plain argmax is comparable.
        decoder.bias[[(len(s) == 1 and not s.isalnum()) or not s.strip() for s in tokenizer.surfaces]] -= 1e4
        decoder.bias[tokenizer.eos] += 1e4 - 1
    return decoder


@pytest.fixture(scope="module")
def captioner(decoder: LSTMDecoder, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    path = tmp_path_factory.mktemp("decoder") / "decoder.onnx"
    export_decoder(decoder, CHANNELS, path)
    return Captioner(Engine(path, state_entries(decoder), threads=1), tokenizer, LIMITS, MAX_TOKENS)


def test_writes_what_torch_writes(captioner: Captioner, decoder: LSTMDecoder, maps: np.ndarray):
    tokenizer = captioner.tokenizer
    known = [captioner.conditions([Label("犬", 90.0), Label("cat")][: n % 3], "ABC" * (n % 2)) for n in range(8)]
    stacked = stack_conditions(known)
    prefix = Prefix(
        torch.from_numpy(maps),
        *(torch.from_numpy(array) for array in vars(stacked).values()),
    )
    expected = greedy(decoder, prefix, tokenizer.bos, tokenizer.eos, MAX_TOKENS)
    found = captioner.captions(maps, known, Parameters(temperature=0, repetition_penalty=1.0))
    compared = [(list(one[0].tokens), tokens) for one, tokens in zip(found, expected, strict=True) if tokens]
    assert len(compared) >= 4  # torch may also end at once, the engine never does
    assert all(ours == theirs for ours, theirs in compared)


def test_padding_changes_nothing(captioner: Captioner, maps: np.ndarray):
    few, many = captioner.conditions([Label("犬")], ""), captioner.conditions([Label("a cat")] * 5, "猫が歩く")
    parameters = Parameters(seed=3, num_candidates=3)
    together = captioner.captions(maps[:2], [few, many], parameters)
    assert [c.tokens for c in together[0]] == [c.tokens for c in captioner.caption(maps[:1], few, parameters)]
    assert not captioner.engine.grows
