from __future__ import annotations

import itertools

import pytest

from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.ranking import (
    LENGTH_EXPONENT,
    RANKINGS,
    RELEVANCE_WEIGHT,
    best,
    length_debiased,
    measure,
    relevance,
)


def score(caption: Caption) -> float:
    return caption.score


def test_exactly_as_many_captions_as_asked_for():
    one, two = Caption("a", -1.0, (3,)), Caption("b", -2.0, (4,))
    assert best([two, one], 1, score) == [one]
    assert best([two, one], 5, score) == [one, one, one, two, two]


def test_different_texts_come_before_equal_ones():
    spelled, other, worse = Caption("ab", -1.0, (3, 4)), Caption("ab", -2.0, (5,)), Caption("c", -3.0, (6,))
    assert best([worse, other, spelled], 2, score) == [spelled, worse]
    assert best([worse, other, spelled], 3, score) == [spelled, other, worse]
    assert best([worse, worse, spelled], 3, score) == [spelled, worse, worse]


def test_the_order_does_not_depend_on_that_of_the_candidates():
    captions = [
        Caption("a", -1.0, (3,)),
        Caption("b", -1.0, (4,)),
        Caption("c", -0.5, (5, 6)),
        Caption("a", -1.0, (7,)),
    ]
    for rank in (score, lambda _: 0.0, lambda caption: -caption.score):
        orders = {tuple(best(order, 3, rank)) for order in itertools.permutations(captions)}
        assert len(orders) == 1


def test_ranks_that_differ_by_noise_are_equal():
    one, two = Caption("a", -1.0, (3,)), Caption("b", -1.5, (4,))
    noise = {one.tokens: 0.0, two.tokens: 1e-6}
    assert best([two, one], 2, lambda caption: noise[caption.tokens]) == [one, two]


def test_relevance_is_what_the_picture_adds():
    dull, fitting = Caption("a", -1.0, (3, 4)), Caption("b", -1.2, (5, 6))
    unconditional = {dull.tokens: -1.5, fitting.tokens: -4.0}
    assert relevance(fitting, -4.0) == pytest.approx(-1.2 + RELEVANCE_WEIGHT * 4.0)
    assert relevance(fitting, -4.0, weight=1.0) == pytest.approx(2.8)
    assert best([dull, fitting], 1, measure("likelihood", {})) == [dull]
    assert best([dull, fitting], 1, measure("relevance", unconditional)) == [fitting]


def test_relevance_needs_no_second_opinion_of_a_single_line():
    only = Caption("a", -1.0, (3,))
    assert best([only, only], 3, measure("relevance", {})) == [only] * 3


def test_length_debiased_asks_less_of_long_lines():
    short, long = Caption("a", -1.0, (3,) * 4), Caption("b", -1.01, (3,) * 19)
    assert length_debiased(long) == pytest.approx(-1.01 * 20 / 20**LENGTH_EXPONENT)
    assert length_debiased(long, exponent=0.0) == pytest.approx(-1.01 * 20)
    assert length_debiased(long, exponent=1.0) == pytest.approx(-1.01)
    assert best([long, short], 1, measure("likelihood", {})) == [short]
    assert best([long, short], 1, measure("length_debiased", {})) == [long]


def test_every_ranking_has_a_measure_of_its_own():
    one, two, three = Caption("a", -1.0, (3,) * 4), Caption("b", -1.01, (4,) * 19), Caption("c", -1.2, (5,))
    unconditional = {one.tokens: -1.0, two.tokens: -1.0, three.tokens: -9.0}
    chosen = [best([one, two, three], 1, measure(ranking, unconditional))[0] for ranking in RANKINGS]
    assert chosen == [one, three, two]
