from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import stack_conditions
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.rescoring import Rescoring
from tests.captioning.serving.stepping import BOS, run

LINES = [(10, 11, 12), (13,), (10, 11), (20, 21, 22, 23, 24), (13,), ()]


def unconditional(captioner: Captioner, line: tuple[int, ...]) -> float:
    """The mean log-probability of a line alone and its end, in float64."""
    logits, state = captioner.engine.prefill(None, stack_conditions([captioner.conditions((), "")]), BOS)
    total = 0.0
    for token in (*line, captioner.tokenizer.eos):
        row = logits[0].astype(np.float64)
        total += row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
        logits, state = captioner.engine.step(np.array([token]), state)
    return total / (len(line) + 1)


@pytest.mark.parametrize("seed", range(3))
def test_lines_read_side_by_side_get_what_each_gets_alone(make_captioner: Callable[[int], Captioner], seed: int):
    captioner = make_captioner(seed)
    rescoring = Rescoring(LINES, captioner.tokenizer.eos)
    run(captioner.engine, None, rescoring)
    assert rescoring.means() == {line: pytest.approx(unconditional(captioner, line), abs=1e-5) for line in LINES}


def test_equal_lines_are_read_once_and_finished_ones_leave_the_batch(captioner: Captioner):
    assert run(captioner.engine, None, Rescoring(LINES, captioner.tokenizer.eos)) == [4, 3, 2, 1, 1]


def test_no_lines_have_no_means():
    assert Rescoring([], 2).means() == {}
