import random

import numpy as np
import pytest

from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.model.conditioning import ConditionLimits, encode_conditions
from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer
from ogiri.captioning.training.known import Labels, conditions, confidences, references
from ogiri.record import Label, Record

LIMITS = ConditionLimits(max_labels=3, max_label_pieces=4, max_text_pieces=5, confidence_edges=(50.0, 90.0))
NAMES = ["犬", " Dog ", "鰯鮪鮭", "Dinosaur", "棒"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["犬も歩けば", "猫の手", "Dog", "Dinosaur"] * 5, 400)


@pytest.fixture(scope="module")
def records() -> Records:
    rng = random.Random(0)
    builder = RecordsBuilder()
    for n in range(60):
        known = [rng.choice([None, 0.0, 50.0, 89.99, 90.0, 100.0]) for _ in range(rng.randrange(6))]
        labels = tuple(Label(rng.choice(NAMES), confidence) for confidence in known)
        text = rng.choice(["", " ", " 犬も歩けば棒に当たる\n", "猫"])
        for line in range(1 + n % 3):
            builder.add(Record(f"{n:02}.jpg", f"line {line}", labels, text))
    return builder.build()


def test_conditions_are_those_of_each_picture_alone(tokenizer: Tokenizer, records: Records):
    labels = Labels(records.pictures, tokenizer, LIMITS)
    made = conditions(records.pictures, labels, tokenizer, LIMITS)
    assert len(made) == len(records.pictures)
    for one, picture in zip(made, records.pictures, strict=True):
        expected = encode_conditions(picture.labels, picture.detected_text, tokenizer, LIMITS)
        for mine, its in zip(vars(one).values(), vars(expected).values(), strict=True):
            np.testing.assert_array_equal(mine, its, strict=True)
    np.testing.assert_array_equal(made[-1].text_pieces, made[59].text_pieces)
    assert len(made[3:5]) == 2
    with pytest.raises(IndexError, match="picture 60 of 60"):
        made[60]


def test_a_name_without_tokens_takes_no_place(tokenizer: Tokenizer):
    builder = RecordsBuilder()
    builder.add(Record("a.jpg", "x", (Label("\u2003", 99.0), Label("犬", 60.0), Label(" ", 55.0), Label("棒", 20.0))))
    pictures = builder.build().pictures
    labels = Labels(pictures, tokenizer, LIMITS)
    (made,) = conditions(pictures, labels, tokenizer, LIMITS)
    assert made.label_pieces[:, 0].tolist() == [tokenizer.encode("犬")[0], tokenizer.encode("棒")[0]]
    assert confidences(pictures, labels)[0].tolist() == [0.6, 0.2]


def test_confidences_belong_to_the_labels_of_the_conditions(tokenizer: Tokenizer, records: Records):
    labels = Labels(records.pictures, tokenizer, LIMITS)
    shares = confidences(records.pictures, labels)
    for one, picture in zip(shares, records.pictures, strict=True):
        known = [1.0 if label.confidence is None else label.confidence / 100 for label in picture.labels]
        assert one.tolist() == known[:3]


def test_references_are_the_lines_of_each_picture(records: Records):
    whole = references(records)
    assert whole == [[f"line {line}" for line in range(1 + n % 3)] for n in range(60)]
    assert whole != [["line 0"]] * 60
    assert references(records.select([])) == []
