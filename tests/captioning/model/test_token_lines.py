import numpy as np
import pytest

from ogiri.captioning.model.token_lines import TokenLines

LINES = [[5, 6, 7], [], [8], [9, 10], []]


def test_lines_come_back_as_they_were():
    lines = TokenLines.of(LINES)
    assert list(lines) == LINES
    assert [lines[i] for i in range(-5, 5)] == LINES + LINES
    assert lines[np.int64(3)] == [9, 10]
    assert lines[1:4] == LINES[1:4]
    assert len(lines) == 5
    assert lines.lengths.tolist() == [3, 0, 1, 2, 0]
    assert lines.tokens.dtype == np.int32


@pytest.mark.parametrize("index", [5, -6])
def test_a_line_that_is_not_there_is_an_error(index: int):
    with pytest.raises(IndexError, match=f"line {index} of 5"):
        TokenLines.of(LINES)[index]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9])
def test_cut_lines_keep_their_first_tokens(most: int):
    assert list(TokenLines.of(LINES).cut(most)) == [line[:most] for line in LINES]


def test_several_are_joined_in_order():
    parts = [TokenLines.of(some) for some in (LINES[:2], [], LINES[2:])]
    assert list(TokenLines.joined(parts)) == LINES
    assert list(TokenLines.joined([])) == []
    assert TokenLines.joined([]).lengths.shape == (0,)
