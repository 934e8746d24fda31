from dataclasses import replace

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import ConditionLimits, Conditions, encode_conditions, stack_conditions
from ogiri.captioning.model.controls import control_array
from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer
from ogiri.record import Label

LIMITS = ConditionLimits(max_labels=3, max_label_pieces=4, max_text_pieces=5, confidence_edges=(50.0, 90.0))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["犬も歩けば", "猫の手", "Dog", "Dinosaur"] * 5, 400)


def shapes(conditions: Conditions) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in vars(conditions).values())


def test_labels_are_their_tokens_padded_to_the_longest(tokenizer: Tokenizer):
    dog, unseen = tokenizer.encode("犬"), tokenizer.encode("鰯")
    assert (len(dog), len(unseen)) == (1, 3)
    known = encode_conditions([Label("犬", 60.0), Label("鰯")], "", tokenizer, LIMITS)
    np.testing.assert_array_equal(known.label_pieces, [[dog[0], -1, -1], unseen])
    np.testing.assert_array_equal(known.label_confidence, [2, 0])
    assert known.text_pieces.shape == (0,)


@pytest.mark.parametrize(
    ("confidence", "bucket"),
    [(None, 0), (0.0, 1), (49.99, 1), (50.0, 2), (89.99, 2), (90.0, 3), (100.0, 3)],
)
def test_confidences_fall_into_buckets(tokenizer: Tokenizer, confidence: float | None, bucket: int):
    known = encode_conditions([Label("犬", confidence)], "", tokenizer, LIMITS)
    assert known.label_confidence.tolist() == [bucket]
    assert bucket < LIMITS.buckets == 4


def test_the_first_labels_and_pieces_are_kept(tokenizer: Tokenizer):
    labels = [Label("鰯鮪鮭"), Label("犬"), Label("猫"), Label("棒")]
    known = encode_conditions(labels, "鰯鮪鮭", tokenizer, LIMITS)
    assert shapes(known) == ((3, 4), (3,), (5,), (2,))
    np.testing.assert_array_equal(known.label_pieces[0], tokenizer.encode("鰯鮪鮭")[:4])
    np.testing.assert_array_equal(known.text_pieces, tokenizer.encode("鰯鮪鮭")[:5])
    assert known.label_pieces[1:, 0].tolist() == [tokenizer.encode("犬")[0], tokenizer.encode("猫")[0]]


def test_white_space_around_names_and_text_says_nothing(tokenizer: Tokenizer):
    plain = encode_conditions([Label("Dog", 60.0)], "犬も", tokenizer, LIMITS)
    spaced = encode_conditions([Label(" Dog\n", 60.0)], "\t犬も ", tokenizer, LIMITS)
    for one, other in zip(vars(plain).values(), vars(spaced).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_blank_name_takes_no_place(tokenizer: Tokenizer):
    known = encode_conditions([Label("  "), Label("犬", 60.0)], "", tokenizer, LIMITS)
    assert known.label_pieces.tolist() == [tokenizer.encode("犬")]
    assert known.label_confidence.tolist() == [2]


def test_nothing_known_is_nothing(tokenizer: Tokenizer):
    known = encode_conditions([], " ", tokenizer, LIMITS)
    assert shapes(known) == ((0, 0), (0,), (0,), (2,))
    assert known.controls.tolist() == [0, 0]
    assert all(array.dtype == np.int64 for array in vars(known).values())


def test_several_pictures_are_stacked_with_padding(tokenizer: Tokenizer):
    one = encode_conditions([Label("犬", 95.0)], "犬も歩けば", tokenizer, LIMITS)
    two = encode_conditions([Label("鰯"), Label("猫", 10.0)], "", tokenizer, LIMITS)
    nothing = encode_conditions([], "", tokenizer, LIMITS)
    stacked = stack_conditions([one, two, nothing])
    text = len(one.text_pieces)
    assert shapes(stacked) == ((3, 2, 3), (3, 2), (3, text), (3, 2))
    assert stacked.label_pieces[0].tolist() == [[one.label_pieces[0, 0], -1, -1], [-1, -1, -1]]
    np.testing.assert_array_equal(stacked.label_pieces[1], two.label_pieces)
    assert stacked.label_confidence.tolist() == [[3, 0], [0, 1], [0, 0]]
    np.testing.assert_array_equal(stacked.text_pieces, [one.text_pieces, [-1] * text, [-1] * text])
    assert (stacked.label_pieces[2] == -1).all()


def test_pictures_of_which_nothing_is_known_can_be_stacked(tokenizer: Tokenizer):
    nothing = encode_conditions([], "", tokenizer, LIMITS)
    assert shapes(stack_conditions([nothing, nothing])) == ((2, 0, 0), (2, 0), (2, 0), (2, 2))
    assert shapes(stack_conditions([])) == ((0, 0, 0), (0, 0), (0, 0), (0, 2))


def test_what_is_asked_for_stays_with_its_picture(tokenizer: Tokenizer):
    known = encode_conditions([Label("犬", 95.0)], "", tokenizer, LIMITS)
    asked = [replace(known, controls=control_array(score, length)) for score, length in ((4, None), (None, "short"))]
    assert stack_conditions([asked[0], known, asked[1]]).controls.tolist() == [[5, 0], [0, 0], [0, 1]]
