from dataclasses import replace

import numpy as np
import pytest
import torch

from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.model.token_lines import TokenLines
from ogiri.captioning.training.examples import (
    IGNORED,
    Examples,
    batch_order,
    batch_without_lines,
    collate,
    drop_conditions,
    picture_order,
    sequential,
    token_frequencies,
)

BOS, EOS = 1, 2


def conditions(*confidence: int, text: int = 0) -> Conditions:
    return Conditions(
        np.arange(2 * len(confidence)).reshape(-1, 2) + 10, np.array(confidence, np.int64), np.arange(text)
    )


@pytest.fixture
def examples() -> Examples:
    """Three pictures, which are the rows 4, 0 and 2 of the array, and five lines."""
    return Examples(
        pictures=np.arange(5 * 2 * 3, dtype=np.float16).reshape(5, 2, 3),
        rows=np.array([4, 0, 2]),
        conditions=[conditions(1, text=3), conditions(), conditions(2, 3)],
        confidences=[np.array([0.5]), np.zeros(0), np.array([1.0, 0.9])],
        lines=TokenLines.of([[10, 11], [12], [13, 14, 15], [], [16]]),
        picture_of=np.array([0, 0, 1, 2, 2]),
        characters=np.array([3, 2, 4, 1, 2]),
        controls=np.array([[1, 1], [0, 2], [5, 3], [0, 0], [2, 1]]),
        weights=np.array([0.5, 1.5, 1.0, 0.75, 1.25], np.float32),
    )


# --- batches of an epoch ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "batch_size"), [(1, 8), (8, 8), (1000, 7), (5000, 64)])
def test_every_line_comes_once_an_epoch(lines: int, batch_size: int):
    lengths = np.random.default_rng(0).integers(1, 40, lines)
    batches = batch_order(lengths, batch_size, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(lines))
    assert max(len(batch) for batch in batches) <= batch_size
    assert len(batches) == -(-lines // batch_size)


def test_lines_of_a_batch_are_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 40, 5000)
    batches = batch_order(lengths, 64, np.random.default_rng(1))
    padding = sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)
    assert padding < 0.1 * lengths.sum()


def test_epochs_differ_and_come_again_from_the_same_seed():
    lengths = np.random.default_rng(0).integers(1, 40, 500)

    def order(seed: int) -> list[list[int]]:
        return [batch.tolist() for batch in batch_order(lengths, 16, np.random.default_rng(seed))]

    assert order(1) == order(1)
    assert order(1) != order(2)
    sizes = [np.mean(lengths[batch]) for batch in batch_order(lengths, 16, np.random.default_rng(1))]
    assert sizes != sorted(sizes)  # not the short lines first


def test_lines_of_a_picture_may_stand_together():
    picture_of = np.repeat(np.arange(100), 5)
    batches = picture_order(picture_of, 20, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert [len(set(picture_of[batch].tolist())) for batch in batches] == [4] * 25
    assert batches[0].tolist() != sorted(batches[0].tolist())
    again, others = (picture_order(picture_of, 20, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.array_equal(batches, again)
    assert not np.array_equal(batches, others)


def test_frequencies_count_tokens_to_be_written_and_the_end(examples: Examples):
    found = token_frequencies(examples, 20, EOS)
    assert found.sum() == pytest.approx(1)
    assert found[EOS] / found[10] == pytest.approx(5, rel=0.02)
    assert found[13] == found[10]
    assert 0 < found[19] < 0.05 * found[10]


def test_sequential_is_every_line_in_order():
    assert [batch.tolist() for batch in sequential(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(sequential(0, 2)) == []


# --- one batch -------------------------------------------------------------------------------------------------------


def test_targets_are_the_line_one_step_ahead_and_its_end(examples: Examples):
    batch = collate(examples, np.array([2, 0, 3]), BOS, EOS)
    assert batch.tokens.tolist() == [[BOS, 13, 14, 15], [BOS, 10, 11, EOS], [BOS, EOS, EOS, EOS]]
    assert batch.targets.tolist() == [[13, 14, 15, EOS], [10, 11, EOS, IGNORED], [EOS, IGNORED, IGNORED, IGNORED]]


def test_each_line_has_the_map_of_its_picture(examples: Examples):
    lines = np.array([4, 0, 2, 1])
    batch = collate(examples, lines, BOS, EOS)
    assert len(batch.pictures) == 3
    for row, line in enumerate(lines):
        expected = examples.pictures[examples.rows[examples.picture_of[line]]]
        np.testing.assert_array_equal(batch.pictures[batch.row_picture[row]].numpy(), expected)


def test_pictures_with_several_lines_are_fetched_once(examples: Examples):
    assert len(collate(examples, np.array([0, 1]), BOS, EOS).pictures) == 1


def test_each_line_has_the_conditions_of_its_picture(examples: Examples):
    prefix = collate(examples, np.array([3, 2, 0]), BOS, EOS).prefix
    assert prefix.label_pieces.tolist() == [[[10, 11], [12, 13]], [[-1, -1], [-1, -1]], [[10, 11], [-1, -1]]]
    assert prefix.label_confidence.tolist() == [[2, 3], [0, 0], [1, 0]]
    assert prefix.text_pieces.tolist() == [[-1, -1, -1], [-1, -1, -1], [0, 1, 2]]
    assert prefix.picture_known.tolist() == [True, True, True]


def test_each_line_has_its_weight(examples: Examples):
    assert collate(examples, np.array([3, 1]), BOS, EOS).weights.tolist() == [0.75, 1.5]


# --- what is dropped while training ----------------------------------------------------------------------------------


def share(scale: float, confidence: float = 1.0, draws: int = 20_000) -> dict[str, float]:
    rng = np.random.default_rng(0)
    known = conditions(1, 2, text=3)
    drawn = [drop_conditions(known, np.array([confidence, 1.0]), rng, scale) for _ in range(draws)]
    return {
        "first": np.mean([10 in one.label_pieces for one in drawn]),
        "second": np.mean([12 in one.label_pieces for one in drawn]),
        "text": np.mean([len(one.text_pieces) > 0 for one in drawn]),
    }


@pytest.mark.parametrize(
    ("scale", "labels", "text"), [(0.0, 1.0, 1.0), (0.5, 0.95, 0.9), (1.0, 0.9, 0.8), (2, 0.8, 0.6)]
)
def test_all_labels_and_the_text_are_dropped_now_and_then(scale: float, labels: float, text: float):
    assert share(scale) == pytest.approx({"first": labels, "second": labels, "text": text}, abs=0.01)


@pytest.mark.parametrize(
    ("scale", "confidence", "kept"), [(1, 0.6, 0.6), (0.5, 0.6, 0.8), (1, 0.0, 0.0), (0, 0.1, 1.0)]
)
def test_a_label_is_kept_as_often_as_it_is_sure(scale: float, confidence: float, kept: float):
    found = share(scale, confidence)
    assert found["first"] == pytest.approx(kept * (1 - 0.1 * scale), abs=0.01)
    assert found["second"] == pytest.approx(1 - 0.1 * scale, abs=0.01)


def test_what_is_kept_keeps_its_confidence():
    rng = np.random.default_rng(0)
    for _ in range(50):
        kept = drop_conditions(conditions(1, 2, 3), np.array([0.5, 0.5, 0.5]), rng, 1.0)
        assert [(pieces[0] - 10) // 2 + 1 for pieces in kept.label_pieces.tolist()] == kept.label_confidence.tolist()


@pytest.mark.parametrize(("scale", "hidden"), [(0.0, 0.0), (1.0, 0.0785), (3.0, 0.2265)])
def test_the_picture_is_hidden_now_and_then(examples: Examples, scale: float, hidden: float):
    lines = np.random.default_rng(0).integers(0, 5, 20_000)
    batch = collate(examples, lines, BOS, EOS, np.random.default_rng(1), scale)
    assert 1 - batch.prefix.picture_known.double().mean().item() == pytest.approx(hidden, abs=0.01)


@pytest.mark.parametrize(("scale", "share"), [(0.0, 0.0), (1.0, 0.03), (3.0, 0.09)])
def test_now_and_then_nothing_at_all_is_known(examples: Examples, scale: float, share: float):
    lines = np.full(20_000, 2)  # its picture has neither labels nor text, so the controls tell
    prefix = collate(examples, lines, BOS, EOS, np.random.default_rng(1), scale).prefix
    nothing = ~prefix.picture_known & (prefix.controls == 0).all(1)
    by_chance = 0.05 * scale * 0.25
    assert nothing.double().mean().item() == pytest.approx(share + (1 - share) * by_chance, abs=0.005)


def test_each_control_is_forgotten_half_of_the_time(examples: Examples):
    batch = collate(examples, np.array([2] * 20_000), BOS, EOS, np.random.default_rng(1))
    score, length = batch.prefix.controls.T
    assert set(score.tolist()) == {0, 5}
    assert set(length.tolist()) == {0, 3}
    assert [(column > 0).double().mean().item() for column in (score, length)] == pytest.approx([0.5, 0.5], abs=0.01)
    assert ((score > 0) & (length > 0)).double().mean().item() == pytest.approx(0.25, abs=0.01)


def test_rows_of_one_picture_are_dropped_apart(examples: Examples):
    batch = collate(examples, np.array([0, 1] * 200), BOS, EOS, np.random.default_rng(0), 1.0)
    texts = (batch.prefix.text_pieces[:, 0] >= 0).view(-1, 2)
    assert (texts[:, 0] != texts[:, 1]).any()


def test_nothing_is_dropped_outside_training(examples: Examples):
    lines = np.array([0, 4] * 100)
    batch = collate(examples, lines, BOS, EOS)
    assert batch.prefix.picture_known.all()
    assert torch.equal(batch.prefix.label_confidence[:2].repeat(100, 1), batch.prefix.label_confidence)
    assert (batch.prefix.text_pieces[::2] >= 0).all()


def test_what_is_to_be_learned_is_every_token_and_end_with_the_weight_of_its_line(examples: Examples):
    batch = collate(examples, np.array([0, 1, 3]), BOS, EOS)
    places, targets, weights = batch.to_learn()
    time = batch.targets.shape[1]
    assert targets.tolist() == [10, 11, EOS, 12, EOS, EOS]
    assert places.tolist() == [0, 1, 2, time, time + 1, 2 * time]
    assert weights.tolist() == [0.5, 0.5, 0.5, 1.5, 1.5, 0.75]


def test_pictures_without_lines_have_all_that_is_known_or_in_training_some_of_it(examples: Examples):
    pictures = np.array([0, 2] * 300)
    whole = batch_without_lines(examples, pictures).prefix
    assert (whole.text_pieces[::2] >= 0).all()
    assert (whole.label_pieces[1::2, 1] >= 0).all()
    some = batch_without_lines(examples, pictures, np.random.default_rng(0), 1.0).prefix
    kept = (some.label_pieces[::2, 0, 0] >= 0).double().mean().item()
    assert kept == pytest.approx(0.9 * 0.5, abs=0.06)  # all labels are dropped a tenth of the time
    assert (some.text_pieces[::2, 0] >= 0).double().mean().item() == pytest.approx(0.8, abs=0.06)


def test_training_draws_among_the_variants_of_a_picture(examples: Examples):
    variants = tuple(examples.pictures + offset for offset in (100, 200))
    varied = replace(examples, variants=variants)
    rng = np.random.default_rng(0)
    drawn = np.stack([varied.picture_batch(np.array([2, 0]), rng).numpy() for _ in range(300)])
    plain = examples.picture_batch(np.array([2, 0])).numpy()
    offsets = drawn - plain
    assert (offsets == offsets[:, :, :1, :1]).all()
    shares = [(offsets[:, row, 0, 0] == offset).mean() for row in (0, 1) for offset in (0, 100, 200)]
    assert shares == pytest.approx([1 / 3] * 6, abs=0.07)
    assert (offsets[:, 0, 0, 0] != offsets[:, 1, 0, 0]).any()


def test_pictures_are_not_varied_outside_training(examples: Examples):
    varied = replace(examples, variants=(examples.pictures + 100,))
    batches = [collate(varied, np.array([0, 2, 4]), BOS, EOS) for _ in range(5)]
    assert all(torch.equal(batch.pictures, collate(examples, batch.lines, BOS, EOS).pictures) for batch in batches)


def test_nobody_asks_for_anything_outside_training(examples: Examples):
    assert (collate(examples, np.array([0, 4]), BOS, EOS).prefix.controls == 0).all()
