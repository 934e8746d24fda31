from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import stack_conditions
from ogiri.captioning.serving.banned import BannedWords
from ogiri.captioning.serving.beam import LENGTH_EXPONENT, BeamSearch
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.line import Caption, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.search import Search
from ogiri.captioning.serving.vocabulary import Vocabulary
from tests.captioning.serving import tiny
from tests.captioning.serving.stepping import BOS, NOTHING, run

END = 2
SURFACES = [b"", b"", b"", b"a", b"b"]


def engine(folder: Path, seed: int, sharpness: float = 0.4) -> Engine:
    path = folder / f"{seed}.onnx"
    tiny.save_decoder(path, len(SURFACES), seed, sharpness)
    return Engine(path, tiny.STATE, threads=1)


def search(engine: Engine, maps: np.ndarray, one: Search) -> list[Caption]:
    run(engine, maps, one)
    return one.captions()


def rules(min_length: int, max_length: int, *banned: str) -> Rules:
    return Rules(Vocabulary(SURFACES, END), min_length, max_length, 20, BannedWords(banned))


def mean_log_probability(engine: Engine, maps: np.ndarray, tokens: tuple[int, ...]) -> float:
    logits, state = engine.prefill(maps, stack_conditions([NOTHING]), BOS)
    total = 0.0
    for token in (*tokens, END):
        row = logits[0].astype(np.float64)
        total += row[token] - np.log(np.exp(row - row.max()).sum()) - row.max()
        logits, state = engine.step(np.array([token]), state)
    return total / (len(tokens) + 1)


def every_line(min_length: int, max_length: int) -> list[tuple[int, ...]]:
    lengths = range(min_length, max_length + 1)
    return [tokens for length in lengths for tokens in itertools.product((3, 4), repeat=length)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shortest", [1, 2])
def test_finds_what_brute_force_finds(seed: int, shortest: int, tmp_path: Path, maps: np.ndarray):
    small, picture = engine(tmp_path, seed), maps[seed : seed + 1]
    parameters = Parameters(num_beams=8, num_candidates=8, repetition_penalty=1.0)
    found = search(small, picture, BeamSearch(rules(shortest, 3), parameters, lookahead_tokens=100))
    scores = {tokens: mean_log_probability(small, picture, tokens) for tokens in every_line(shortest, 3)}
    ranks = {tokens: score * (len(tokens) + 1) ** (1 - LENGTH_EXPONENT) for tokens, score in scores.items()}
    chosen = sorted(ranks, key=lambda tokens: -ranks[tokens])[:8]
    best = sorted(chosen, key=lambda tokens: -scores[tokens])
    assert [caption.tokens for caption in found] == best
    assert [caption.score for caption in found] == pytest.approx([scores[tokens] for tokens in best], abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_rules_hold_for_beams(seed: int, tmp_path: Path, maps: np.ndarray):
    small = engine(tmp_path, seed)
    parameters = Parameters(num_beams=8, num_candidates=8)
    found = search(small, maps[:1], BeamSearch(rules(2, 5, "ab"), parameters, lookahead_tokens=100))
    assert len({caption.text for caption in found}) == 8
    assert all(2 <= len(caption.text) <= 5 and "ab" not in caption.text for caption in found)


def test_beats_greedy(make_captioner: Callable[[int], Captioner], maps: np.ndarray):
    gains = []
    for seed in range(3):
        captioner = make_captioner(seed)
        known = [captioner.conditions((), "")] * 8
        greedy = captioner.captions(maps, known, Parameters(temperature=0, repetition_penalty=1.0))
        beams = captioner.captions(maps, known, Parameters(num_beams=8, repetition_penalty=1.0))
        gains += [beam[0].score - one[0].score for beam, one in zip(beams, greedy, strict=True)]
    assert np.mean(gains) > 1
    assert sum(gain < 0 for gain in gains) <= 1  # a beam may drop the greedy line on the way


def test_beams_of_one_picture_do_not_depend_on_other_pictures(captioner: Captioner, maps: np.ndarray):
    known = [captioner.conditions((), "")] * 8
    parameters = Parameters(num_beams=4, num_candidates=4)
    together = captioner.captions(maps, known, parameters)
    for picture in (0, 3, 7):
        alone = captioner.caption(maps[picture : picture + 1], known[0], parameters)
        assert [c.tokens for c in alone] == [c.tokens for c in together[picture]]


def test_captions_are_as_many_as_asked_for_even_if_there_are_fewer_lines(tmp_path: Path, maps: np.ndarray):
    found = search(engine(tmp_path, 0), maps[:1], BeamSearch(rules(1, 1), Parameters(num_beams=4, num_candidates=4)))
    assert len(found) == 4
    assert {caption.text for caption in found} == {"a", "b"}
    assert found == sorted(found, key=lambda caption: -caption.score)


def test_stops_once_no_beam_can_get_better(tmp_path: Path, maps: np.ndarray):
    class Counting(BeamSearch):
        steps = 0

        def advance(self, logits):
            self.steps += 1
            return super().advance(logits)

    small = engine(tmp_path, 1)
    counting = Counting(rules(1, 15), Parameters(num_beams=2))
    exact = Counting(rules(1, 15), Parameters(num_beams=2), lookahead_tokens=1000)
    found, best = search(small, maps[:1], counting), search(small, maps[:1], exact)
    assert counting.steps <= exact.steps == 16
    assert found[0].score <= best[0].score
    assert found == search(small, maps[:1], BeamSearch(rules(1, 15), Parameters(num_beams=2)))


def test_ends_where_it_is_when_only_banned_words_are_left(tmp_path: Path, maps: np.ndarray):
    found = search(engine(tmp_path, 0), maps[:1], BeamSearch(rules(5, 9, "aa", "b"), Parameters(num_beams=2)))
    assert [caption.text for caption in found] == ["a"]
