from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from ogiri.captioning.model.controls import (
    LENGTHS,
    LEVELS,
    ControlEdges,
    control_array,
    control_starts,
    find_edges,
)

EDGES = ControlEdges(score=(1.0, 2.0, 3.0, 4.0), length=(6.0, 12.0))


def test_what_is_not_asked_for_is_0_and_level_n_is_n_plus_1():
    assert control_array().tolist() == [0, 0]
    assert [control_array(score=score).tolist() for score in range(5)] == [[1, 0], [2, 0], [3, 0], [4, 0], [5, 0]]
    assert [control_array(length=length).tolist() for length in LENGTHS] == [[0, 1], [0, 2], [0, 3]]
    assert control_array(0, "long").dtype == np.int64


def test_every_level_of_every_control_has_a_row_of_its_own():
    asked = [control_array(score, LENGTHS[0]) for score in (None, *range(5))]
    asked += [control_array(0, length) for length in (None, *LENGTHS)]
    rows = {(column, int(row)) for one in asked for column, row in enumerate(one + control_starts())}
    assert sorted(row for _, row in rows) == list(range(sum(LEVELS) + len(LEVELS)))


@pytest.mark.parametrize(
    ("score", "characters", "levels"),
    [
        (0.0, 1, [1, 1]),
        (0.99, 5, [1, 1]),
        (1.0, 6, [2, 2]),
        (2.5, 11, [3, 2]),
        (4.0, 12, [5, 3]),
        (99.0, 500, [5, 3]),
        (-5.0, 0, [1, 1]),
        (math.nan, 7, [0, 2]),
    ],
)
def test_a_line_falls_into_the_level_that_begins_at_or_below_it(score: float, characters: int, levels: list[int]):
    assert EDGES.levels(score, characters).tolist() == levels


def test_what_was_not_learned_has_no_level():
    assert ControlEdges().levels(3.0, 9).tolist() == [0, 0]
    assert [ControlEdges(length=(6.0, 12.0)).known(name) for name in ("score", "length")] == [False, True]


def test_edges_survive_json():
    assert ControlEdges.from_json(json.loads(json.dumps(dataclasses.asdict(EDGES)))) == EDGES
    assert ControlEdges.from_json({}) == ControlEdges()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"score": [1.0], "humour": [2.0]}, "unknown control humour"),
        ({"score": None}, "must be lists of numbers"),
        ({"length": 6}, "must be lists of numbers"),
        ({"length": ["six"]}, "six"),
    ],
)
def test_edges_that_are_none_are_refused(value: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ControlEdges.from_json(value)


def test_levels_hold_about_as_many_lines_each():
    random = np.random.default_rng(0)
    scores, characters = random.gamma(2.0, 3.0, 1000), random.integers(1, 60, 1000).tolist()
    edges = find_edges(scores, characters)
    levels = np.array([edges.levels(score, length) for score, length in zip(scores, characters, strict=True)])
    assert np.bincount(levels[:, 0]).tolist() == [0, 200, 200, 200, 200, 200]
    counts = np.bincount(levels[:, 1])
    assert len(counts) == 4
    assert counts[1:] == pytest.approx([1000 / 3] * 3, abs=20)  # equal lengths stay together


def test_unknown_scores_do_not_count():
    scores = [math.nan, 1.0, math.nan, 2.0, 3.0, 4.0, 5.0]
    assert find_edges(scores, [3] * 7) == ControlEdges(score=(2.0, 3.0, 4.0, 5.0))


@pytest.mark.parametrize(
    ("scores", "characters"),
    [
        ([], []),
        ([3.0] * 50, [8] * 50),
        ([math.nan] * 50, [8, 9] * 25),
        ([1.0] * 49 + [2.0], [1] * 25 + [2] * 25),
        ([1.0, 2.0, 3.0, 4.0] * 10, [5] * 20 + [6] * 20),
    ],
)
def test_a_control_whose_levels_the_lines_do_not_fill_is_left_out(scores: list[float], characters: list[int]):
    assert find_edges(scores, characters) == ControlEdges()
