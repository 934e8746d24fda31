from __future__ import annotations

import json

import numpy as np

from ogiri.captioning.data.features import Broken
from ogiri.captioning.data.lines import BANNED, LINK, Dropped
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.data.summary import (
    MAX_BINS,
    Bin,
    DataSummary,
    Distribution,
    DroppedLines,
    LineOf,
    NearDuplicates,
    Side,
    distribution,
    shared_lines,
    summarise,
)
from ogiri.record import Label, Record


def build(*records: Record) -> Records:
    builder = RecordsBuilder()
    for record in records:
        builder.add(record)
    return builder.build()


DOG = (Label("Dog"), Label("Pet"))
LEFT = build(
    Record("a.jpg", "犬だ", DOG, "止まれ", score=2.0),
    Record("a.jpg", "Ａ dog", DOG, "止まれ"),
    Record("b.jpg", "犬ですよ"),
    Record("c.jpg", "a DOG "),
    Record("c.jpg", "猫"),
    Record("d.jpg", "破"),
)
DROPPED = [
    Dropped("a.jpg", "www.a.jp", LINK),
    Dropped("e.jpg", "死", BANNED),
    Dropped("e.jpg", "死ぬ", BANNED),
]


def summary() -> DataSummary:
    sides = LEFT.select([0, 1]), LEFT.select([2])
    return summarise(LEFT, DROPPED, [Broken("d.jpg", "it is empty")], sides, (["a.jpg", "a.jpg"], ["c.jpg"]), 4)


def test_says_what_was_read_and_what_was_left_out():
    found = summary()
    assert (found.records_read, found.pictures_read, found.dropped_pictures) == (9, 5, 1)
    assert found.dropped_lines == (
        DroppedLines("a banned word", 2, (LineOf("e.jpg", "死"), LineOf("e.jpg", "死ぬ"))),
        DroppedLines("a link", 1, (LineOf("a.jpg", "www.a.jp"),)),
    )
    assert found.broken_pictures == (Broken("d.jpg", "it is empty"),)
    assert found.cut_lines == 4


def test_says_what_lies_on_each_side():
    found = summary()
    assert (found.train, found.validation) == (Side(2, 3, 1), Side(1, 2, 1))
    assert found.near_duplicates == NearDuplicates(1, 2, 2, (("a.jpg", "b.jpg"),))
    assert (found.shared_lines, found.shared_examples) == (1, ("a DOG ",))


def test_says_what_lines_and_pictures_are_like():
    found = summary()
    assert (found.line_characters.p50, found.line_characters.longest) == (4, 6)
    assert found.labels_per_picture.bins == (Bin(0, 1, 2), Bin(1, 2, 0), Bin(2, 3, 1))
    assert (found.pictures_with_text, found.lines_with_score) == (1 / 3, 1 / 5)


def test_goes_into_json():
    found = json.loads(json.dumps(summary().as_dict(), allow_nan=False))
    assert found["near_duplicates"]["examples"] == [["a.jpg", "b.jpg"]]
    assert found["dropped_lines"][1]["examples"] == [{"image_key": "a.jpg", "line": "www.a.jp"}]


def test_examples_are_few():
    many = [Dropped(f"{n}.jpg", "x", LINK) for n in range(100)]
    keys = [f"{n:03}.jpg" for n in range(200)]
    records = build(*(Record(key, "犬") for key in keys))
    groups = ["000.jpg"] * 30 + [f"{n // 2 * 2:03}.jpg" for n in range(30, 100)], keys[100:]
    found = summarise(records, many, [], (records.select(range(100)), records.select(range(100, 200))), groups, 0)
    assert len(found.dropped_lines[0].examples) == 10
    assert found.dropped_lines[0].count == found.dropped_pictures == 100
    assert (found.near_duplicates.groups, found.near_duplicates.pictures) == (36, 100)
    assert (found.near_duplicates.largest, len(found.near_duplicates.examples)) == (30, 10)
    assert found.near_duplicates.examples[0] == tuple(keys[:5])
    assert (found.shared_lines, found.shared_examples) == (100, ("犬",))


def test_lines_are_shared_whatever_their_width_case_and_surroundings():
    train = ["ＡＢＣ", "ガ", "straße", "犬 と猫", "㏋"]
    same = [" abc\n", "ｶﾞ", "STRASSE", "hp"]
    assert shared_lines(train, [*same, "犬と猫", "犬", "abcd"]) == same


def test_bins_cover_all_numbers_once():
    numbers = np.random.default_rng(0).integers(3, 250, 1000).tolist()
    found = distribution(numbers)
    assert 10 <= len(found.bins) <= MAX_BINS
    assert [each.start for each in found.bins[1:]] == [each.end for each in found.bins[:-1]]
    assert [each.count for each in found.bins] == [
        sum(each.start <= number < each.end for number in numbers) for each in found.bins
    ]
    assert sum(each.count for each in found.bins) == 1000
    assert (found.longest, found.p50) == (max(numbers), sorted(numbers)[499])


def test_of_nothing_there_is_no_distribution():
    assert distribution([]) == Distribution(0.0, 0, 0, 0, 0, ())
    assert distribution([7, 7]).bins == (Bin(7, 8, 2),)
