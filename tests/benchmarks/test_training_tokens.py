from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from benchmarks.serving.shapes import Shape
from benchmarks.training.peak import operations_per_second
from benchmarks.training.steps import BUCKETED, RANDOM, Learner, batches, made_up, padding, tokens_to_learn
from benchmarks.training.tokens import Kind, compared, rows

SHAPE = Shape("lstm", "mobilenet_v2", 400, 64, 1)


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def kind(order: str, tokens: int, *seconds: float) -> Kind:
    return Kind("fp32", order, tokens, 2, 0.5, 4_000_000_000, list(seconds))


def test_tokens_a_second_are_of_the_median_turn_and_compared_with_the_first_row():
    first, second = rows([kind(RANDOM, 100, 2.0, 4.0, 99.0), kind(BUCKETED, 100, 1.0)], {"fp32": 8e9})
    assert (first["tokens/s"], first["ratio"], first["ms a step"]) == (25.0, 1.0, 2000.0)
    assert (second["tokens/s"], second["ratio"]) == (100.0, 4.0)
    assert second["share"] == 0.5
    assert second["GFLOP a step"] == 2.0


def test_what_compiling_costs_comes_back_with_what_it_saves():
    found = compared(100, 30.0, [4.0, 4.0], [3.0])
    assert found["ratio"] == pytest.approx(4 / 3)
    assert found["pays after s"] == pytest.approx(120.0)
    assert compared(100, 30.0, [4.0], [5.0])["pays after s"] is None


def test_made_up_lines_are_as_long_as_those_of_people():
    lengths = made_up(SHAPE, 20_000).lines.lengths
    assert 14 < lengths.mean() < 16
    assert 32 < np.percentile(lengths, 95) < 36


def test_batches_by_length_learn_the_same_tokens_with_less_padding():
    examples = made_up(SHAPE, 256)
    shuffled, sorted_ = batches(examples, RANDOM, 16), batches(examples, BUCKETED, 16)
    assert tokens_to_learn(shuffled) == tokens_to_learn(sorted_) == int(examples.lines.lengths.sum()) + 256
    assert padding(sorted_) < 0.5 * padding(shuffled)


def test_a_learner_learns():
    examples = made_up(SHAPE, 8)
    some = batches(examples, BUCKETED, 8)
    with one_thread():
        learner = Learner(SHAPE, examples)
        first = learner.turn(some, "fp32").loss
        assert learner.turn(some * 30, "fp32").loss < first - 0.1


def test_the_operations_of_lstm_and_attention_are_counted_and_one_dnn_is_on_again():
    examples = made_up(SHAPE, 8)
    some = batches(examples, BUCKETED, 8)
    with one_thread():
        counted = Learner(SHAPE, examples).operations(some)
    positions, width = some[0].tokens.numel(), SHAPE.width
    lstms = 4 * width * (width + width) + 4 * width * (2 * width + width)  # weights of both
    output = width * SHAPE.vocabulary
    cells = len(some[0].tokens) * 49 * 1280 * width
    least = 6 * positions * lstms + 4 * cells  # no gradient reaches the map
    assert least < counted < 2 * (least + 6 * positions * output)
    assert torch.backends.mkldnn.enabled


def test_the_peak_is_more_than_a_small_product_reaches():
    with one_thread():
        assert operations_per_second(torch.float32, (16, 256)) > operations_per_second(torch.float32, (16,))
