import itertools

import numpy as np
import pytest

from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.record import Label, Record


def build(*records: Record) -> Records:
    builder = RecordsBuilder()
    for record in records:
        builder.add(record)
    return builder.build()


def pairs(records: Records) -> list[tuple[str, str]]:
    return [(records.pictures[index].key, line) for index, line in zip(records.picture_of, records.lines, strict=True)]


DOG, CAT = (Label("Dog", 99.0),), (Label("Cat", 98.0),)
RECORDS = (
    Record("b.jpg", "two", DOG, "", score=2.0),
    Record("a.jpg", "三", (), "second text"),
    Record("b.jpg", "one", (), "text"),
    Record("a.jpg", "one", CAT, ""),
    Record("a.jpg", "two", DOG, "first text", score=-1.5),
)


def test_pictures_come_once_and_records_in_the_order_of_key_and_line():
    records = build(*RECORDS)
    assert records.pictures == (Picture("a.jpg", CAT, "first text"), Picture("b.jpg", DOG, "text"))
    assert pairs(records) == [("a.jpg", "one"), ("a.jpg", "two"), ("a.jpg", "三"), ("b.jpg", "one"), ("b.jpg", "two")]
    assert records.picture_of.dtype == np.int32
    assert records.scores.dtype == np.float32
    np.testing.assert_array_equal(records.scores, np.array([np.nan, -1.5, np.nan, np.nan, 2.0], np.float32))
    assert len(records) == 5


def test_the_order_of_reading_changes_nothing():
    first = build(*RECORDS)
    for order in itertools.permutations(RECORDS):
        other = build(*order)
        assert other.pictures == first.pictures
        assert other.lines == first.lines
        np.testing.assert_array_equal(other.picture_of, first.picture_of)
        np.testing.assert_array_equal(other.scores, first.scores)


def test_a_pair_counts_once_with_its_best_score():
    repeated = [Record("a.jpg", "one", score=score) for score in (1.0, None, 3.0, 2.0)]
    for order in itertools.permutations(repeated):
        records = build(*order, Record("b.jpg", "one"))
        assert pairs(records) == [("a.jpg", "one"), ("b.jpg", "one")]
        assert records.scores[0] == 3.0


def test_selects_the_records_of_some_pictures():
    records = build(*RECORDS, Record("c.jpg", "x", CAT, "", score=7.0))
    chosen = records.select([2, 0])
    assert [picture.key for picture in chosen.pictures] == ["a.jpg", "c.jpg"]
    assert pairs(chosen) == [("a.jpg", "one"), ("a.jpg", "two"), ("a.jpg", "三"), ("c.jpg", "x")]
    assert chosen.scores[-1] == 7.0
    assert chosen.picture_of.dtype == np.int32
    assert len(records.select([])) == 0
    assert pairs(records.select(np.arange(3))) == pairs(records)


def test_keeps_some_records_and_their_pictures():
    records = build(*RECORDS, Record("c.jpg", "x", CAT, "", score=7.0))
    kept = records.keep(np.array([False, True, False, False, False, True]))
    assert pairs(kept) == [("a.jpg", "two"), ("c.jpg", "x")]
    assert kept.pictures == (Picture("a.jpg", CAT, "first text"), Picture("c.jpg", CAT, ""))
    assert kept.picture_of.dtype == np.int32
    np.testing.assert_array_equal(kept.scores, np.array([-1.5, 7.0], np.float32))
    assert (len(records.keep(np.zeros(6, np.bool_))), records.keep(np.zeros(6, np.bool_)).pictures) == (0, ())


@pytest.mark.parametrize("index", [-1, 2])
def test_selecting_what_is_not_there_is_an_error(index):
    with pytest.raises(IndexError):
        build(*RECORDS).select([index])


def test_no_records_are_records_too():
    records = build()
    assert len(records) == 0
    assert records.pictures == ()
    assert records.picture_of.shape == records.scores.shape == (0,)


def test_a_score_beyond_float32_stays_finite():
    assert np.isfinite(build(Record("a.jpg", "x", score=1e125)).scores).all()
