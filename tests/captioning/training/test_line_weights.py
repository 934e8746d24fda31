from __future__ import annotations

import numpy as np
import pytest

from ogiri.captioning.training.line_weights import consensus, rank_weights

NAN = float("nan")


def test_the_line_that_says_what_the_others_say_has_the_most_consensus():
    references = [
        ["a dog runs on the grass", "a dog runs over green grass", "what a lovely afternoon it was"],
        ["two men play chess", "two men sit at a table", "two men play a game of chess"],
        ["nobody else said anything"],
    ]
    found = consensus(references, "word")
    assert found.shape == (7,)
    assert found[2] < 0.1
    assert min(found[0], found[1]) > 0.5
    assert np.isnan(found[6])


def test_consensus_leaves_out_the_line_itself():
    """Else the longest and rarest line would always agree best, with itself."""
    same, other = consensus([["犬が走る", "犬が走る"], ["猫は寝る", "鳥の歌"]], "character").reshape(2, 2)
    assert same == pytest.approx([10, 10])
    assert other == pytest.approx([0, 0])


def test_weights_go_by_rank_and_are_one_on_the_average():
    weights = rank_weights(np.array([1, 1000, 3, 3], np.float32), 0.5)
    assert weights.mean() == pytest.approx(1)
    assert weights[1] == weights.max() == pytest.approx(1.375)
    assert weights[2] == weights[3]
    assert rank_weights(np.array([1, 1000], np.float32), 0).tolist() == [1, 1]


def test_what_is_unknown_weighs_one():
    assert rank_weights(np.array([NAN, 5, NAN, 7], np.float32), 1.0).tolist() == [1, 0.5, 1, 1.5]
