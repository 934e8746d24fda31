from __future__ import annotations

import numpy as np
import pytest

from ogiri.captioning.serving import sampling


def logits(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities, np.float32))


def drawn(scores: np.ndarray, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> set[int]:
    return {sampling.pick(scores, temperature, top_k, top_p, draw) for draw in np.linspace(0, 1, 2000, endpoint=False)}


def test_temperature_0_takes_the_best():
    assert drawn(logits(0.2, 0.5, 0.3), temperature=0) == {1}


def test_temperature_sharpens():
    row = logits(0.6, 0.4)
    draws = np.linspace(0, 1, 10_000, endpoint=False)
    share = np.mean([sampling.pick(row, 0.5, 0, 1.0, draw) == 0 for draw in draws])
    assert share == pytest.approx(0.36 / (0.36 + 0.16), abs=1e-3)


def test_a_temperature_near_0_is_greedy_and_does_not_overflow():
    assert drawn(np.array([5.0, 4.9, -np.inf, -80.0], np.float32), temperature=5e-324) == {0}


def test_top_k_keeps_the_k_best():
    assert drawn(logits(0.1, 0.4, 0.2, 0.3), top_k=2) == {1, 3}


def test_top_p_keeps_the_token_that_crosses_the_share():
    row = logits(0.5, 0.3, 0.15, 0.05)
    assert drawn(row, top_p=0.6) == {0, 1}
    assert drawn(row, top_p=0.4) == {0}
    assert drawn(row, top_p=0.81) == {0, 1, 2}


def test_top_p_counts_within_top_k():
    assert drawn(logits(0.4, 0.3, 0.2, 0.1), top_k=2, top_p=0.5) == {0}  # 0.4 of 0.7 is more than half


def test_forbidden_tokens_never_come():
    row = np.full(500, -np.inf, np.float32)
    row[[7, 300]] = 0, -3
    for top_k, top_p in ((0, 1.0), (50, 1.0), (0, 0.999), (50, 0.999)):
        assert drawn(row, 2.0, top_k, top_p) == {7, 300}
    row[:] = -np.inf
    assert sampling.pick(row, 1.0, 50, 0.9, 0.5) == sampling.NOTHING


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (20, 1.0), (0, 0.7), (40, 0.7)])
def test_draws_follow_the_distribution(top_k: int, top_p: float):
    random = np.random.default_rng(0)
    row = random.standard_normal(300).astype(np.float32)
    order = np.argsort(-row)
    expected = np.exp(row.astype(np.float64) / 0.8)
    expected[order[top_k or 300 :]] = 0
    expected /= expected.sum()
    expected[order[np.searchsorted(np.cumsum(expected[order]), top_p - 1e-9) + 1 :]] = 0
    expected /= expected.sum()
    tokens = [sampling.pick(row, 0.8, top_k, top_p, draw) for draw in np.linspace(0, 1, 20_000, endpoint=False)]
    counts = np.bincount(tokens, minlength=300) / len(tokens)
    assert np.abs(counts - expected).max() < 2e-3


@pytest.mark.parametrize("sharpness", [0.01, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("top_p", [0.3, 0.92, 0.999])
def test_top_p_keeps_the_smallest_set_however_flat_a_row_is(sharpness: float, top_p: float):
    random = np.random.default_rng(0)
    row = (random.standard_normal(600) * sharpness).astype(np.float32)
    row[random.random(600) < 0.2] = -np.inf
    share = np.exp(row.astype(np.float64)) / np.exp(row.astype(np.float64)).sum()
    order = np.argsort(-share)
    size = int(np.searchsorted(np.cumsum(share[order]), top_p)) + 1
    draws = np.linspace(0, 1, 4000, endpoint=False)
    kept = {sampling.pick(row, 1.0, 0, top_p, draw) for draw in draws}
    assert kept <= set(order[: size + 1].tolist())  # one more: the sums are rounded
    assert kept >= {token for token in order[: size - 1].tolist() if share[token] > 1.1 / len(draws)}


def test_top_p_counts_tokens_that_are_equally_likely():
    assert len(drawn(np.zeros(1000, np.float32), top_p=0.5)) == 500


@pytest.mark.parametrize("size", [5, 64, 1000, 8011])
def test_top_is_what_sorting_gives(size: int):
    random = np.random.default_rng(size)
    for count in (1, 5, 50, size):
        row = random.standard_normal(size).astype(np.float32)
        row[random.random(size) < 0.3] = -np.inf
        found = sampling.top(row, min(count, size))
        assert np.array_equal(row[found], np.sort(row)[::-1][: min(count, size)])
        assert len(set(found)) == len(found)


def test_the_repetition_penalty_makes_written_tokens_less_likely_whatever_their_sign():
    row = np.array([2.0, -2.0, 1.0], np.float32)
    sampling.penalise(row, np.array([0, 1, 0]), 2.0)
    assert row.tolist() == [1.0, -4.0, 1.0]
    sampling.penalise(row, np.array([False, False, True]), 4.0)
    assert row.tolist() == [1.0, -4.0, 0.25]


def test_log_normalisers_make_log_probabilities():
    rows = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32) * 30
    assert np.exp(rows - sampling.log_normalisers(rows)[:, None]).sum(axis=1) == pytest.approx(1)


def test_a_broken_decoder_is_noticed():
    with pytest.raises(FloatingPointError):
        sampling.log_normalisers(np.array([[0.0, np.nan]], np.float32))
