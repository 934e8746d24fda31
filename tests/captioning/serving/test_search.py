from __future__ import annotations

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.serving.banned import BannedWords
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.line import Caption, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.search import Sampling, run
from ogiri.captioning.serving.vocabulary import Vocabulary
from tests.captioning.serving import tiny

BOS, END, MAX_TOKENS = 1, 2, 12
SURFACES = [b"", b"", b"", *(bytes([letter]) for letter in b"abcdefghijklmnopqrstuvwxyz")]
NOTHING = stack_conditions([Conditions(np.zeros((0, 0), int), np.zeros(0, int), np.zeros(0, int))])


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    paths = [tmp_path_factory.mktemp("decoder") / "decoder.onnx" for _ in range(5)]
    for seed, path in enumerate(paths):
        tiny.save_decoder(path, len(SURFACES), seed)
    return [Engine(path, tiny.STATE, threads=1) for path in paths]


def sampling(parameters: Parameters) -> Sampling:
    rules = Rules(Vocabulary(SURFACES, END), 1, 100, MAX_TOKENS, BannedWords(parameters.banned_words))
    return Sampling(rules, parameters)


def captions(engine: Engine, maps: np.ndarray, parameters: Parameters) -> list[Caption]:
    logits, state = engine.prefill(maps, NOTHING, BOS)
    search = sampling(parameters)
    for _ in run(engine, logits, state, [search]):
        pass
    return search.captions()


def test_greedy_is_the_argmax_of_every_step(engines: list[Engine], maps: np.ndarray):
    ended = 0
    for engine in engines:
        for picture in range(8):
            expected: list[int] = []
            logits, state = engine.prefill(maps[picture : picture + 1], NOTHING, BOS)
            while len(expected) < MAX_TOKENS:
                logits[0, [0, 1] if expected else [0, 1, END]] = -np.inf  # control tokens, and an empty line
                token = int(logits[0].argmax())
                if token == END:
                    ended += 1
                    break
                expected.append(token)
                logits, state = engine.step(np.array([token]), state)
            parameters = Parameters(temperature=0, repetition_penalty=1.0)
            assert list(captions(engine, maps[picture : picture + 1], parameters)[0].tokens) == expected
    assert 0 < ended < 40


def test_top_k_1_is_greedy(engines: list[Engine], maps: np.ndarray):
    for engine in engines:
        one, other = Parameters(temperature=2, top_k=1, seed=3), Parameters(temperature=0)
        assert captions(engine, maps[:1], one) == captions(engine, maps[:1], other)


class Counting:
    """An engine that notes how many rows each step has."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.rows = engine, []

    def step(self, tokens, state):
        assert state.rows == len(tokens)
        self.rows.append(len(tokens))
        return self.engine.step(tokens, state)


@pytest.mark.parametrize("greedy", [{"temperature": 0}, {"top_k": 1}, {"temperature": 0, "best_of": 9}])
def test_greedy_candidates_are_one_line_written_once(engines: list[Engine], maps: np.ndarray, greedy: dict[str, float]):
    counting, search = Counting(engines[0]), sampling(Parameters(num_candidates=5, **greedy))
    for _ in run(counting, *engines[0].prefill(maps[:1], NOTHING, BOS), [search]):
        pass
    assert len(search.captions()) == 5
    assert len(set(search.captions())) == 1
    assert set(counting.rows) == {1}


def test_finished_lines_leave_the_batch(engines: list[Engine], maps: np.ndarray):
    sizes = set()
    for engine in engines:
        counting = Counting(engine)
        search = sampling(Parameters(temperature=2, top_k=0, top_p=1, num_candidates=16, seed=0))
        for _ in run(counting, *engine.prefill(maps[:1], NOTHING, BOS), [search]):
            pass
        assert counting.rows == sorted(counting.rows, reverse=True)
        sizes |= set(counting.rows)
    assert len(sizes) > 3


def test_what_is_settled_only_gets_longer_and_is_the_line_in_the_end(engines: list[Engine], maps: np.ndarray):
    logits, state = engines[0].prefill(maps[:1], NOTHING, BOS)
    search, settled = sampling(Parameters(seed=1)), ""
    for _ in run(engines[0], logits, state, [search]):
        assert search.settled.startswith(settled)
        settled = search.settled
    assert search.captions()[0].text == settled


def test_of_several_lines_none_is_settled(engines: list[Engine], maps: np.ndarray):
    search = sampling(Parameters(seed=1, best_of=2))
    for _ in run(engines[0], *engines[0].prefill(maps[:1], NOTHING, BOS), [search]):
        assert search.settled == ""
    assert len(search.pool()) == 2
    assert len(search.captions()) == 1
