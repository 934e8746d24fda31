from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import stack_conditions
from ogiri.captioning.serving import sampling as sampling_module
from ogiri.captioning.serving.banned import BannedWords
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.line import Caption, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.sampling import Logits
from ogiri.captioning.serving.search import Sampling
from ogiri.captioning.serving.vocabulary import Vocabulary
from tests.captioning.serving import tiny
from tests.captioning.serving.stepping import BOS, NOTHING, run

END, MAX_TOKENS = 2, 12
SURFACES = [b"", b"", b"", *(bytes([letter]) for letter in b"abcdefghijklmnopqrstuvwxyz")]


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
    search = sampling(parameters)
    run(engine, maps, search)
    return search.captions()


def test_greedy_is_the_argmax_of_every_step(engines: list[Engine], maps: np.ndarray):
    ended = 0
    for engine in engines:
        for picture in range(8):
            expected: list[int] = []
            logits, state = engine.prefill(maps[picture : picture + 1], stack_conditions([NOTHING]), BOS)
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


@pytest.mark.parametrize("greedy", [{"temperature": 0}, {"top_k": 1}, {"temperature": 0, "best_of": 9}])
def test_greedy_candidates_are_one_line_written_once(engines: list[Engine], maps: np.ndarray, greedy: dict[str, float]):
    search = sampling(Parameters(num_candidates=5, **greedy))
    assert set(run(engines[0], maps[:1], search)) == {1}
    assert len(search.captions()) == 5
    assert len(set(search.captions())) == 1


def test_finished_lines_leave_the_batch(engines: list[Engine], maps: np.ndarray):
    sizes = set()
    for engine in engines:
        search = sampling(Parameters(temperature=2, top_k=0, top_p=1, num_candidates=16, seed=0))
        rows = run(engine, maps[:1], search)
        assert rows == sorted(rows, reverse=True)
        sizes |= set(rows)
    assert len(sizes) > 3


def test_what_is_settled_only_gets_longer_and_is_the_line_in_the_end(engines: list[Engine], maps: np.ndarray):
    search, settled = sampling(Parameters(seed=1)), [""]
    run(engines[0], maps[:1], search, look=lambda: settled.append(search.settled))
    assert all(after.startswith(before) for before, after in itertools.pairwise(settled))
    assert search.captions()[0].text == settled[-1] != ""


def test_of_several_lines_none_is_settled(engines: list[Engine], maps: np.ndarray):
    search = sampling(Parameters(seed=1, best_of=2))
    settled: set[str] = set()
    run(engines[0], maps[:1], search, look=lambda: settled.add(search.settled))
    assert settled == {""}
    assert len(search.pool()) == 2
    assert len(search.captions()) == 1


WORDS = [b"", b"", b"", *(f"{number} ".encode() for number in range(5000))]


def of_rows(rows: np.ndarray, parameters: Parameters) -> list[tuple[Caption, ...]]:
    """The lines that are chosen from these logits, (steps, vocabulary), by seeds."""
    found = []
    for seed in range(12):
        rules = Rules(Vocabulary(WORDS, END), 1, 100, len(rows), BannedWords(parameters.banned_words))
        search = Sampling(rules, replace(parameters, seed=seed))
        for row in rows:
            if not search.advance(Logits.of(row[None])).rows:
                break
        found.append(tuple(search.captions()))
    return found


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(),
        Parameters(repetition_penalty=2.0, temperature=1.4),
        Parameters(temperature=0),
        Parameters(top_k=90, top_p=1.0),
        Parameters(top_k=130, top_p=1.0),
        Parameters(banned_words=tuple(str(number) for number in range(0, 5000, 7))[:1000]),
        Parameters(min_length=60),
    ],
    ids=["plain", "penalty", "greedy", "many", "as many", "banned", "long"],
)
@pytest.mark.parametrize("digits", [1, 7], ids=["many alike", "none alike"])
def test_who_looks_at_the_best_alone_chooses_as_who_looks_at_all(monkeypatch, parameters: Parameters, digits: int):
    random = np.random.default_rng(0)
    rows = (random.standard_normal((20, len(WORDS))) * 3).round(digits).astype(np.float32)
    rows[:, 40:60] += 8  # come again and again, so that they are penalised
    rows[10:, END] += 12
    few = of_rows(rows, parameters)
    assert len({captions[0].text for captions in few}) > (1 if parameters.temperature else 0)
    looked: list[bool] = []
    known = sampling_module.hold_the_best
    monkeypatch.setattr(sampling_module, "hold_the_best", lambda *given: looked.append(known(*given)) or False)
    assert of_rows(rows, parameters) == few
    assert any(looked)
